"""The command line of `tests.fuzz`: see there."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import (
    inputs,
    libfuzzer,
    targets,  # noqa: F401  (fills the table)
)
from tests.fuzz.inputs import FINDINGS, TARGETS, Target
from tests.support.processes import python_environment

MOST_CORPUS = 2 * 2**20
"""Bytes of the whole corpus in the repository; each target has its share."""
_FIGURES = re.compile(r"#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/(\w+).*?exec/s: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """What the run of one target brought."""

    target: str
    executions: int
    rate: int
    """Executions a second."""
    edges: int
    inputs: int
    """Files in its corpus."""
    size: int
    """Bytes of its corpus."""
    findings: list[str]
    exit_code: int

    def __str__(self) -> str:
        return (
            f"{self.target:18}{self.executions:>10}{self.rate:>8}/s{self.edges:>7} edges"
            f"{self.inputs:>6} files{self.size:>8} B{len(self.findings):>4} findings"
            + (f", exit code {self.exit_code}" if self.exit_code else "")
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets; 0 without a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", allow_abbrev=False)
    parser.add_argument("--target", nargs="+", default=sorted(TARGETS), metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=0.0, help="for each target")
    parser.add_argument("--seconds", type=float, default=0.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--nice", type=int, default=19, help="the workers' priority")
    parser.add_argument("--keep", action="store_true", help="leave the corpus as it is")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("file", nargs="*", type=Path, help="try these inputs instead")
    options = parser.parse_args(arguments)
    # argparse can't tell where the targets end and the files begin.
    names = [word for word in options.target if word in TARGETS]
    files = [Path(word) for word in options.target if word not in TARGETS] + options.file
    for path in files:
        if not path.is_file():
            parser.error(f"{path}: neither a file nor a target; --list names the targets")
    if options.list:
        for name in sorted(TARGETS):
            print(f"{name:18}{(TARGETS[name].run.__doc__ or '').strip()}")
        return 0
    if files:
        return _try_files(names, files)
    if find_spec("atheris") is None:
        print("there is no Atheris here: pip install --only-binary atheris -e .[fuzz]")
        return 2
    seconds = round(60 * options.minutes + options.seconds) or 60
    # The workers do the work; these threads only wait for them.
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [
            pool.submit(fuzz, TARGETS[name], seconds, keep=options.keep, nice=options.nice)
            for name in names
        ]
        outcomes = []
        for run in runs:
            outcomes.append(run.result())
            print(outcomes[-1], flush=True)
    for outcome in outcomes:
        for finding in outcome.findings:
            print(f"\n{finding}")
            path = FINDINGS / outcome.target / finding.partition(":")[0].removeprefix("FOUND ")
            print(
                f"  python -m tests.fuzz --target {outcome.target} {path.relative_to(Path.cwd())}"
            )
    return int(any(outcome.findings or outcome.exit_code for outcome in outcomes))


def _try_files(names: Iterable[str], paths: Iterable[Path]) -> int:
    failed = 0
    for name in names:
        for path in paths:
            try:
                inputs.check(TARGETS[name], path.read_bytes())
            except Exception:
                failed += 1
                print(f"{name}: {path}")
                traceback.print_exc()
            else:
                print(f"{name}: {path}: passes")
    return int(failed > 0)


def fuzz(tried: Target, seconds: int, *, keep: bool = False, nice: int = 19) -> Outcome:
    """Run one target for so long, and put what it found into its corpus."""
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{tried.name}-") as name:
        work = Path(name)
        seeds, found, program = work / "seeds", work / "found", work / "program"
        found.mkdir()
        libfuzzer.write_seeds(tried, seeds)
        dictionary = work / "dictionary"
        libfuzzer.write_dictionary(tried, dictionary)
        findings = FINDINGS / tried.name
        command: list[str | Path] = ["nice", "-n", str(nice)]
        command += [sys.executable, "-m", "tests.fuzz.worker", tried.name]
        command += [findings, program]
        quoted = " ".join(f"'{word}'" for word in command)
        program.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        limits = [*libfuzzer.LIMITS, "-timeout=60", "-print_final_stats=1"]
        limits += [f"-artifact_prefix={work}/"]
        if keep:
            # A short pass over what others changed: it should try the same each time.
            limits += ["-seed=1"]
        kept = [tried.corpus] if tried.corpus.is_dir() else []
        options: list[str | Path] = [
            f"-max_total_time={seconds}",
            f"-dict={dictionary}",
            found,
            *kept,
            seeds,
        ]
        log, code = _run([*command, *limits, *options])
        if code:
            libfuzzer.keep_artifacts(work, findings, log)
        figures = [match.groups() for match in _FIGURES.finditer(log)]
        executions, edges, _, _, _, rate = figures[-1] if figures else ("0",) * 6
        if not keep:
            merged = work / "merged"
            merged.mkdir()
            _run([*command, *limits, "-merge=1", merged, *kept, found, seeds])
            _replace(tried, merged, seeds)
        files = list(tried.corpus.glob("*"))
        size = sum(path.stat().st_size for path in files)
        told = [line for line in log.splitlines() if line.startswith("FOUND ")]
        if code and not told:  # libFuzzer itself ended it
            told = [
                f"FOUND {path.name}: see its .txt"
                for path in findings.glob("*-*")
                if path.suffix != ".txt"
            ]
        return Outcome(
            tried.name, int(executions), int(rate), int(edges), len(files), size, told, code
        )


def _run(command: Sequence[str | Path]) -> tuple[str, int]:
    """Run a worker; return what it printed, and its exit code."""
    scratch = inputs.scratch()
    try:
        done = subprocess.run(
            [*map(str, command)],
            cwd=Path.cwd(),
            env=python_environment(TMPDIR=str(scratch)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return done.stdout.decode(errors="replace"), done.returncode


def _replace(tried: Target, merged: Path, seeds: Path) -> None:
    """Make the merged files the corpus, the smallest first, as far as the target's share goes."""
    left = MOST_CORPUS // len(TARGETS)
    known = {path.name for path in seeds.iterdir()}
    paths = sorted(merged.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    shutil.rmtree(tried.corpus, ignore_errors=True)
    tried.corpus.mkdir(parents=True)
    for path in paths:
        data = path.read_bytes()
        left -= len(data)
        if left < 0:
            break
        if libfuzzer.stem(data) not in known:
            (tried.corpus / libfuzzer.stem(data)).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
