"""The shells' completions in shells that somebody types into: what a name becomes on the line."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import pytest

from seeder.commands.manual import Shell, completion
from tests.support.processes import missing_programs, python_environment

pytestmark = pytest.mark.timeout(240)  # programs start some sixty times
ODD = (
    "odd/0 two  blanks",
    "odd/1 it's $HOME",
    "odd/2`touch obeyed`$(touch obeyed)",
    "odd/3*",
    "odd/4 at 12:30, or later",
    'odd/5\\n"q"s',
    "odd/6;touch obeyed&",
    "odd/7=~ö",
)
"""Keys that S3 takes."""
PROGRAM = """\
#!{python}
import click, sys
ODD = {odd!r}
@click.command()
@click.argument("name", shell_complete=lambda *_: [n for n in ODD if n.startswith(_[2])])
def seeder(name):
    print("GOT", ascii(name), flush=True)
seeder(prog_name="seeder")
"""
TYPING: dict[str, Sequence[str]] = {
    "bash": ("bash", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
}


def install(home: Path, shell: Shell) -> Path:
    """Put a program of that name there which has odd names; return the shell's script for it."""
    program, script = home / "seeder", home / "script"
    program.write_text(PROGRAM.format(python=sys.executable, odd=ODD))
    program.chmod(0o755)
    script.write_text(completion(click.Group(), shell))
    return script


def typed(words: Sequence[str], line: str, home: Path) -> str:
    """Return what a shell shows on a terminal when a line is typed into it, which ends it."""
    terminal, its = pty.openpty()
    env = python_environment(HOME=str(home), PATH=f"{home}:{os.environ['PATH']}", TERM="dumb")
    with subprocess.Popen(
        words, stdin=its, stdout=its, stderr=its, env=env, cwd=home, start_new_session=True
    ) as shell:
        os.close(its)
        try:
            os.write(terminal, line.encode())
            shown = b""
            with suppress(OSError):  # EIO: the shell has gone
                while part := os.read(terminal, 65536):
                    shown += part
        finally:
            shell.kill()
            os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize(
    ("shell", "quote"), [("bash", ""), ("bash", '"'), ("bash", "'"), ("zsh", "")]
)
def test_names_that_the_tab_key_completed_are_those_names_and_nothing_of_them_is_obeyed(
    tmp_path: Path, shell: Shell, quote: str
) -> None:
    if missing_programs(shell):
        pytest.skip(f"{shell} is absent")
    script = install(tmp_path, shell)
    begin = "autoload -Uz compinit && compinit -D -u; " if shell == "zsh" else ""
    lines = [f"{begin}source {script}", *(f"seeder {quote}{name[:5]}\t" for name in ODD), "exit"]
    shown = typed(TYPING[shell], "".join(f"{line}\n" for line in lines), tmp_path)
    assert re.findall("GOT (.+?)\r?\n", shown) == [ascii(name) for name in ODD]
    assert not (tmp_path / "obeyed").exists()


@pytest.mark.skipif(bool(missing_programs("fish")), reason="fish is absent")
def test_fish_is_told_whole_names(tmp_path: Path) -> None:
    script = install(tmp_path, "fish")
    told = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C 'seeder odd/'"],
        env=python_environment(HOME=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert sorted(told.splitlines()) == sorted(ODD)
