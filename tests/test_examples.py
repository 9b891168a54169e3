"""The examples of the documents are right as they stand: settings, commands, policies, programs."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from seeder.cli import main
from seeder.config.load import load
from tests.house import ROOT
from tests.support.handbook import PAGES

DOCUMENTS = (ROOT / "README.md", *PAGES)
EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(seeder [a-z]+ [^`]+)`")
LACKING = {
    "objects": '\n[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n',
    "tracker": '\n[tracker]\nannounce_url = "http://tracker.example.org:6969/announce"\n',
}


def examples(language: str) -> Iterator[object]:
    """Yield each example in a language, named by where it stands."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in EXAMPLE.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 2
                yield pytest.param(match[2], id=f"{document.name}:{line}")


def commands() -> Iterator[object]:
    """Yield each command line of ours, in examples and in running text."""
    found: set[str] = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in EXAMPLE.finditer(text):
            if match[1] == "sh":
                found |= set(re.findall(r"^(?:\S*/)?(seeder [a-z]+.*)$", match[2], re.MULTILINE))
        found |= set(INLINE.findall(EXAMPLE.sub("", text)))
    for line in sorted(found):
        if "|" not in line:
            yield line


@pytest.mark.parametrize("text", [*examples("toml")])
def test_every_example_of_the_configuration_is_taken(text: str, tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    for section, more in LACKING.items():
        if not re.search(rf"^\[+{section}\]+$", text, re.MULTILINE):
            text += more
    path.write_text(text)
    load(path, "1" if "%i" in text else None)


@pytest.mark.parametrize("line", [*commands()])
def test_every_command_has_the_options_that_are_named(line: str) -> None:
    _, name, *arguments = shlex.split(re.sub(r" > \S+$", "", line), comments=True)
    given = [{"N": "5", "M": "2", "FORMAT": "json"}.get(each, each) for each in arguments]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    required = {"-c": "FILE"} if any(o.name == "path" for o in command.params) else {}
    for option, value in required.items():
        if option not in given:
            given += [option, value]
    command.make_context(name, given)


@pytest.mark.parametrize("text", [*examples("json")])
def test_every_policy_is_json(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("text", [*examples("python")])
def test_every_program_is_python(text: str) -> None:
    compile(text, "example", "exec")


@pytest.mark.parametrize("text", [*examples("sh")])
def test_every_command_line_is_one_of_the_shell(text: str) -> None:
    ran = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
