"""The wheel: built the same wherever and whenever, and with all that a new environment needs."""

import os
import pty
import re
import signal
import stat
import subprocess
import sysconfig
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from seeder import __version__
from tests.support.processes import Child, missing_programs, run
from tests.support.wheel import ROOT, Installed, build, copy_sources, make_environment

CARRIED = sorted(
    [
        *ROOT.glob("systemd/*"),
        *(
            ROOT / "config" / name
            for name in (
                *("grafana-dashboard.json", "prometheus-rules.yaml", "seeder.toml"),
                *("Containerfile", "compose.yaml", "kubernetes.yaml", "prometheus.yaml"),
                *("grafana-datasource.yaml", "grafana-dashboards.yaml"),
            )
        ),
    ]
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("built") / "sources")


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    return build(sources, "wheel")


@pytest.fixture(scope="module")
def sdist(sources: Path) -> Path:
    return build(sources, "sdist")


def test_wheel_and_sdist_are_the_same_from_another_place_time_and_umask(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    other = copy_sources(tmp_path / "elsewhere" / "there")
    for path in sorted(other.rglob("*"), reverse=True):
        os.utime(path, (1, 1))
        path.chmod(stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR)
    for target, made in (("wheel", wheel), ("sdist", sdist)):
        again = build(other, target, umask=0o077)
        assert (again.name, again.read_bytes()) == (made.name, made.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        assert {each.date_time for each in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_a_wheel_that_is_built_from_the_sdist_is_the_same(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    assert build(unpacked, "wheel").read_bytes() == wheel.read_bytes()


def test_the_wheel_carries_the_examples_as_they_stand_in_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {
            name.removeprefix("seeder/examples/"): archive.read(name)
            for name in archive.namelist()
            if name.startswith("seeder/examples/")
        }
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert carried == {str(path.relative_to(ROOT)): path.read_bytes() for path in CARRIED}
    assert tops == {"seeder", f"seeder-{__version__}.dist-info"}


def test_what_the_wheel_says_of_itself_is_so(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = f"seeder-{__version__}.dist-info/METADATA"
        said = archive.read(name).decode().partition("\n\n")[0]
    assert f"\nVersion: {__version__}\n" in said
    assert "\nRequires-Python: >=3.11\n" in said
    # There is no page of the project that could be named.
    assert "Project-URL" not in said


# -- in an environment of its own -----------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = make_environment(tmp_path_factory.mktemp("fresh") / "venv")
    made.pip_install("--no-deps", "--no-index", wheel)
    # Not the .pth files there, one of which leads to the repository.
    (made.libraries / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


def test_it_runs_by_its_name_and_as_a_module(installed: Installed) -> None:
    python = installed.directory / "bin" / "python"
    where = installed.run(python, "-c", "import seeder; print(seeder.__file__)").stdout
    assert Path(where.strip()).is_relative_to(installed.directory)
    for words in ((installed.program,), (python, "-m", "seeder")):
        assert installed.run(*words, "--version").stdout.strip() == f"seeder, version {__version__}"


def test_a_newcomer_gets_from_the_wheel_to_a_running_daemon(
    installed: Installed, tmp_path: Path
) -> None:
    home = tmp_path / "my seeder"
    told = installed.run("seeder", "init", home).stdout.splitlines()
    assert [path.name for path in sorted(home.iterdir())] == [
        "grafana-dashboard.json",
        "prometheus-rules.yaml",
        "seeder.toml",
    ]
    # The commands that it names are run as they stand there, in a shell.
    check, serve = (line.strip() for line in told[-2:])
    assert (check, serve) == (
        f"seeder check -c '{home}/seeder.toml'",
        f"seeder run -c '{home}/seeder.toml'",
    )
    text = (home / "seeder.toml").read_text()
    text = text.replace('["0.0.0.0:6969"]', '["127.0.0.1:0"]', 1)
    text = text.replace('["0.0.0.0:6881"]', '["127.0.0.1:0"]', 1)
    text = text.replace('["127.0.0.1:9180"]', "[]", 1)
    text = text.replace("[origin] ", '[origin]\nendpoint = "http://127.0.0.1:1" ', 1)
    (home / "seeder.toml").write_text(text)
    assert "ok, 1 object" in installed.run("sh", "-c", check).stdout
    with Child(
        ["sh", "-c", f"exec {serve}"], log=tmp_path / "run.log", env=installed.environment()
    ) as daemon:
        daemon.wait_until(lambda: "ready: " in daemon.output(), timeout=60, what="ready")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(60) == 0


def test_units_run_this_very_installation_by_the_file_beside_them(
    installed: Installed, tmp_path: Path
) -> None:
    home = tmp_path / "50% off"
    told = installed.run("seeder", "init", home, "--systemd").stdout
    units = sorted(home.glob("systemd/*"))
    assert [path.name for path in units] == [path.name for path in sorted(ROOT.glob("systemd/*"))]
    program, file = installed.program, str(home / "seeder.toml").replace("%", "%%")
    one = (home / "systemd" / "seeder.service").read_text()
    assert f'\nExecStart={program} run -c "{file}"\n' in one
    for path in units:
        assert "/opt/seeder" not in path.read_text()
        assert "/etc/seeder" not in path.read_text()
    assert f"cp '{home}/systemd'/seeder* /etc/systemd/system/" in told
    assert "systemctl daemon-reload" in told
    assert told.index("systemctl edit seeder    # LoadCredential=") < told.index("enable --now")
    assert "warning: this installation is below /tmp, which" in told or not str(program).startswith(
        "/tmp"
    )
    if not missing_programs("systemd-analyze"):
        # This time the program is there, and nothing at all is to be said.
        verified = subprocess.run(
            ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
        )
        assert [line for line in verified.stderr.splitlines() if line] == []


def test_what_makes_and_runs_the_image_is_written_where_it_is_wanted(
    installed: Installed, tmp_path: Path
) -> None:
    told = installed.run("seeder", "init", tmp_path, "--container").stdout
    with_compose = {"Containerfile", "compose.yaml", "prometheus.yaml"}
    with_compose |= {"grafana-datasource.yaml", "grafana-dashboards.yaml"}
    usual = {"grafana-dashboard.json", "prometheus-rules.yaml", "seeder.toml"}
    assert {path.name for path in tmp_path.iterdir()} == usual | with_compose
    for name in with_compose:
        assert (tmp_path / name).read_bytes() == (ROOT / "config" / name).read_bytes()
    assert "\n  pip wheel --no-deps -w wheel REPOSITORY    # or put your wheel there" in told
    image = f"podman build --format docker -t seeder -f {tmp_path}/Containerfile wheel"
    assert f"\n  {image}\n  docker compose -f {tmp_path}/compose.yaml up -d " in told
    assert "seeder run" not in told
    (tmp_path / "below").mkdir()
    around = tmp_path / "below" / ".."
    told = installed.run("seeder", "init", around, "--container", "--kubernetes").stdout
    (tmp_path / "below").rmdir()
    assert {path.name for path in tmp_path.iterdir()} == usual | with_compose | {"kubernetes.yaml"}
    assert told.count("podman build") == 1
    assert f"\n  kubectl apply -f {tmp_path}/kubernetes.yaml " in told


def test_init_leaves_alone_what_is_there_unless_it_is_told_to(
    installed: Installed, tmp_path: Path
) -> None:
    mine = tmp_path / "seeder.toml"
    mine.write_text("# mine\n")
    told = installed.run("seeder", "init", tmp_path).stdout
    assert f"{mine}: is there and differs: left as it is (--force writes it anew)" in told
    assert mine.read_text() == "# mine\n"
    assert f"{tmp_path}/prometheus-rules.yaml: written\n" in told
    told = installed.run("seeder", "init", tmp_path, "--force").stdout
    assert f"{mine}: written anew\n" in told
    assert f"{tmp_path}/prometheus-rules.yaml: is there already\n" in told
    assert mine.read_bytes() == (ROOT / "config" / "seeder.toml").read_bytes()


def test_init_says_in_a_line_where_it_can_t_write(installed: Installed) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        installed.run("seeder", "init", "/proc/nowhere")
    assert raised.value.returncode == 1
    [line] = raised.value.stderr.splitlines()
    assert line.startswith("/proc/nowhere/seeder.toml: can't be written: ")


# -- completion and the manual page ---------------------------------------------------------------

CASES = {
    "seeder che": {"check"},
    "seeder keys re": {"revoke"},
    "seeder run --log-format j": {"json"},
}


@pytest.mark.parametrize("line", CASES)
def test_bash_completes(installed: Installed, line: str) -> None:
    words = line.split(" ")
    script = (
        'eval "$(seeder completion bash)"; complete -p seeder >&2;'
        f" COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1};"
        ' _seeder_completion seeder; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = installed.run("bash", "--norc", "-c", script)
    assert set(done.stdout.split()) == CASES[line]
    assert done.stderr.rstrip().endswith("-F _seeder_completion seeder")


def test_the_tab_key_completes_in_an_interactive_bash(installed: Installed) -> None:
    terminal, shell_s = pty.openpty()
    env = installed.environment() | {"PS1": "> ", "TERM": "dumb"}
    with subprocess.Popen(
        ["bash", "--norc", "-i"],
        stdin=shell_s,
        stdout=shell_s,
        stderr=shell_s,
        env=env,
        start_new_session=True,
    ) as shell:
        os.close(shell_s)
        try:
            os.write(terminal, b'eval "$(seeder completion bash)"\nseeder che\t--help\nexit\n')
            shown = b""
            with suppress(OSError):  # EIO: the shell has gone
                while part := os.read(terminal, 65536):
                    shown += part
        finally:
            shell.kill()
            os.close(terminal)
    assert b"Usage: seeder check [OPTIONS]" in shown


@pytest.mark.skipif(bool(missing_programs("fish")), reason="fish is absent")
@pytest.mark.parametrize("line", CASES)
def test_fish_completes(installed: Installed, line: str) -> None:
    done = installed.run(
        "fish", "--no-config", "-c", f"seeder completion fish | source; complete -C '{line}'"
    )
    assert {each.partition("\t")[0] for each in done.stdout.splitlines()} == CASES[line]


@pytest.mark.skipif(bool(missing_programs("zsh")), reason="zsh is absent")
def test_zsh_takes_its_completion(installed: Installed) -> None:
    script = (
        'autoload -Uz compinit && compinit -D && eval "$(seeder completion zsh)"'
        " && print $_comps[seeder]"
    )
    assert installed.run("zsh", "-f", "-c", script).stdout.strip() == "_seeder_completion"
    env = installed.run(
        "env", "_SEEDER_COMPLETE=zsh_complete", "COMP_WORDS=seeder che", "COMP_CWORD=1", "seeder"
    )
    assert env.stdout.split("\n")[:2] == ["plain", "check"]


def test_the_manual_page_names_every_command_and_option(installed: Installed) -> None:
    page = installed.run("seeder", "man").stdout
    plain = re.sub(r"\\f.", "", page).replace(r"\-", "-")
    for command in ("run", "check", "keys revoke", "init", "completion", "diagnose"):
        assert f'\n.SS "{command} ' in plain
    for said in ("--log-format", "--online", "SEEDER_SECTION__KEY", ".SH EXIT STATUS", "SIGHUP"):
        assert said in plain
    assert page.startswith(f'.TH SEEDER 1 "" "seeder {__version__}"')


@pytest.mark.skipif(bool(missing_programs("mandoc")), reason="mandoc is absent")
def test_the_manual_page_is_one_to_its_reader(installed: Installed, tmp_path: Path) -> None:
    page = tmp_path / "seeder.1"
    page.write_text(installed.run("seeder", "man").stdout)
    linted = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False
    )
    # It has no date, for it is that of a version.
    assert [each for each in linted.stdout.splitlines() if "missing date" not in each] == []
    shown = run(["mandoc", "-T", "ascii", "-O", "width=200", page])
    read = re.sub(".\b", "", shown)
    assert "seeder - publish large S3 objects by BitTorrent" in read
    assert "   run [OPTIONS]" in read
