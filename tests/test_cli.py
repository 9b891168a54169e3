"""Every command as a shell sees it: what goes to stdout, what to stderr, and the exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from bencode2 import bdecode
from click.testing import CliRunner

from seeder import __version__
from seeder.cli import main
from seeder.config.load import load
from seeder.daemon import run as daemon
from seeder.ledger.counters import AccountKey, Ledger
from seeder.ledger.file import Entry, LedgerFile
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import KIB, MIB, content, make_torrent
from tests.support.ports import free_port
from tests.support.processes import Child, python_environment
from tests.support.raw_peer import BLOCK, PIECE, UNCHOKE, RawPeer, request
from tests.support.toml import toml

BODY = content(2 * MIB + 5)
PIECE_LENGTH = 64 * KIB
DAY = 86400.0
PROGRAM = (sys.executable, "-m", "seeder.cli")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def line(self) -> str:
        """The only line of stderr."""
        [line] = self.err.splitlines()
        return line


def environment(**extra: str) -> dict[str, str]:
    """Return an environment with credentials that any server of these tests takes."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secrettest"}
    return python_environment(HOME="/nonexistent", COLUMNS="80", **keys, **extra)


async def seeder(*words: str | Path) -> Result:
    """Run `seeder` to its end."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [*PROGRAM, *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@dataclass
class Site:
    """A configuration on disk and the S3 server that it names."""

    path: Path
    peer: str
    """Where peers would connect."""
    server: FaultServer
    store: ObjectsServer

    @property
    def state(self) -> Path:
        return self.path.parent / "state"


def write_settings(path: Path, endpoint: str, peer: str) -> Path:
    """Write a configuration for two objects of one bucket."""
    wishes: dict[str, Mapping[str, str]] = {"Nelson": {"piece_length": "64 KiB"}, "Hardy": {}}
    settings = {
        "state_directory": "state",
        "origin": {"endpoint": endpoint, "path_style": True},
        "objects": [{"bucket": "quotes", "key": key, **wish} for key, wish in wishes.items()],
        "tracker": {"listen": ["127.0.0.1:0"], "announce_url": "http://127.0.0.1:6969/announce"},
        "peer": {"listen": [peer], "public_address": peer, "super_seeding": "off"},
        "cache": {"directory": "cache"},
        "admin": {"listen": []},
    }
    path.write_text(toml(settings))
    return path


@pytest.fixture
def site(faults: FaultServer, tmp_path: Path) -> Site:
    store = ObjectsServer(objects={"Nelson": BODY, "Hardy": b"kiss me"})
    faults.default = store.serve
    peer = f"127.0.0.1:{free_port('127.0.0.1')}"
    return Site(write_settings(tmp_path / "seeder.toml", faults.url, peer), peer, faults, store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration whose S3 server is never asked."""
    return write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1", "127.0.0.1:6881")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in this process, which is quicker."""
    monkeypatch.setattr("seeder.cli.log_to_stderr", lambda *_: None)

    def run(*words: str | Path) -> Result:
        done = CliRunner().invoke(main, [str(word) for word in words])
        return Result(done.exit_code, done.stdout_bytes, done.stderr)

    return run


# -- help, check ----------------------------------------------------------------------------------


async def test_the_version_is_the_package_s() -> None:
    result = await seeder("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().split()[-1] == __version__


def test_help_names_every_command_and_wrong_usage_is_2(here: Callable[..., Result]) -> None:
    result = here("--help")
    assert result.code == 0
    for command in ("run", "check", "report", "torrent", "magnet", "demo"):
        assert f"\n  {command} " in result.out.decode()
    for words in ((), ("sail",), ("check",), ("check", "-c"), ("demo", "--size", "0 B")):
        wrong = here(*words)
        assert (wrong.code, wrong.out) == (2, b""), words


def test_check_counts_the_objects(here: Callable[..., Result], path: Path) -> None:
    assert here("check", "-c", path) == Result(0, f"{path}: ok, 2 objects\n".encode(), "")
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


def test_check_looks_at_the_secrets_that_it_can_reach(
    here: Callable[..., Result], path: Path
) -> None:
    keys = (
        '[[gateway.keys]]\naccess_key_id = "A-1"\nsecret_file = "a"\nobjects = ["quotes/*"]\n'
        '[[gateway.keys]]\naccess_key_id = "B-2"\nsecret_credential = "b"\nobjects = ["quotes/*"]\n'
    )
    path.write_text(path.read_text() + keys)
    refused = here("check", "-c", path)
    assert refused.code == 2
    secret = path.parent / "a"
    assert refused.line == (
        f"gateway.keys[0]: the secret of A-1: {secret} can't be read: No such file or directory"
    )
    secret.write_text("x" * 16)
    secret.chmod(0o600)
    result = here("check", "-c", path)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().splitlines()[1:] == [
        "gateway.keys: B-2: not checked: only the service reads its secret"
    ]


def with_budget(path: Path, text: str) -> None:
    """Add a section [budget]."""
    path.write_text(f"{path.read_text()}[budget]\n{text}\n")


def test_check_says_what_the_limits_come_to(here: Callable[..., Result], path: Path) -> None:
    with_budget(
        path,
        'origin_bytes_per_day = "2 TiB"\norigin_bytes_per_month = "1 TiB"\n'
        "origin_requests_per_day = 1000000\norigin_money_per_day = 9\n"
        'uploaded_bytes_per_day = "100 MiB"\nuploaded_money_per_month = 0.045',
    )
    result = here("check", "-c", path)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().splitlines()[1:] == [
        'budget.origin_bytes_per_day = "2 TiB": costs 184.32; '
        "never reached, for origin_bytes_per_month is less",
        'budget.origin_bytes_per_month = "1 TiB": costs 92.16',
        "budget.origin_requests_per_day = 1000000: costs 0.4000",
        "budget.origin_money_per_day = 9.0: buys 100 GiB, less the requests",
        'budget.uploaded_bytes_per_day = "100 MiB": costs 0.0088',
        "budget.uploaded_money_per_month = 0.045: buys 512 MiB",
    ]


async def test_check_online_asks_s3_for_every_object(site: Site) -> None:
    result = await seeder("check", "--online", "-c", site.path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert lines[1:] == [
        f"quotes/Nelson: ok, {len(BODY)} bytes, ETag {ObjectsServer.etag(BODY)}",
        f"quotes/Hardy: ok, 7 bytes, ETag {ObjectsServer.etag(b'kiss me')}",
    ]
    assert site.store.requests == {"HEAD Nelson": 1, "HEAD Hardy": 1}
    site.store.refuse.add("Nelson")
    del site.store.objects["Hardy"]
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 1
    assert result.line == "2 of 2 objects can't be published"
    refused, missing = result.out.decode().splitlines()[1:]
    assert refused.startswith("quotes/Nelson: S3 answers 403 AccessDenied")
    assert missing.startswith("quotes/Hardy: S3 answers 404 NoSuchKey")


def write_prefixes(site: Site, *prefixes: str) -> None:
    """Publish what is below prefixes, besides the two objects."""
    entries = "".join(f'[[objects]]\nbucket = "quotes"\nprefix = "{each}"\n' for each in prefixes)
    site.path.write_text(site.path.read_text() + entries)


async def test_check_online_lists_a_prefix_and_reads_nothing_of_it(site: Site) -> None:
    write_prefixes(site, "", "empty/", "speeches/")
    site.store.objects |= {f"speeches/{number}": b"hear" for number in range(3)}
    site.store.page = 2
    result = await seeder("check", "--online", "-c", site.path)
    lines = result.out.decode().splitlines()
    assert lines[0].endswith(": ok, 2 objects and 3 prefixes")
    assert lines[3:] == [
        # The two that have entries of their own, and those of a longer prefix, don't count.
        "quotes/: there is no object below it; check prefix and bucket",
        "quotes/empty/: there is no object below it; check prefix and bucket",
        "quotes/speeches/: ok, 3 objects below it, 12 bytes",
    ]
    assert (result.code, result.line) == (1, "2 of 5 objects can't be published")
    assert {name for name in site.store.requests if name.startswith("GET")} == set()


async def test_the_torrent_of_an_object_below_a_prefix_is_found_by_its_key(site: Site) -> None:
    write_prefixes(site, "speeches/")
    site.store.objects["speeches/a b"] = b"hear"
    result = await seeder("magnet", "-c", site.path, "quotes/speeches/a b")
    assert (result.code, result.err) == (0, "")
    assert "dn=a%20b" in result.out.decode()
    result = await seeder("torrent", "-c", site.path, "quotes/speeches/c")
    assert (result.code, result.out) == (1, b"")
    assert "NoSuchKey" in result.line


# -- report ---------------------------------------------------------------------------------------


def test_a_report_before_the_first_run_says_what_is_missing(
    here: Callable[..., Result], path: Path
) -> None:
    result = here("report", "-c", path)
    assert (result.code, result.out) == (1, b"")
    assert result.line.startswith(f"{path.parent}/state/ledger.sqlite: there is no ledger yet")
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


def fill_ledger(state: Path) -> None:
    """Book three days ago and now: 100 MB and 10 MB from S3, ten times that uploaded."""
    state.mkdir()
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"tag"'))
    account.size = 110_000_000
    file = LedgerFile(state / "ledger.sqlite")
    for at, count in ((time.time() - 3 * DAY, 100_000_000), (time.time(), 10_000_000)):
        account.origin_request("hashing")
        account.origin_received("hashing", count)
        account.uploaded(10 * count)
        account.delivered_verified(20 * count)
        file.write([Entry.of(account)], at)
    file.close()


def test_a_report_is_a_table_or_json_of_all_or_of_late(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    everything = here("report", "-c", path, "--json")
    assert (everything.code, everything.err) == (0, "")
    document = json.loads(everything.out)
    assert document["totals"]["origin_bytes"] == 110_000_000
    assert document["totals"]["saved_verified_bytes"] == 2_090_000_000
    [torrent] = document["torrents"]
    assert (torrent["bucket"], torrent["key"]) == ("quotes", "Nelson")
    assert document["since"] is None

    late = here("report", "-c", path, "--json", "--since", "1d")
    document = json.loads(late.out)
    assert document["totals"]["uploaded_bytes"] == 100_000_000
    assert document["since"] == pytest.approx(time.time() - DAY, abs=3700)

    table = here("report", "-c", path)
    assert (table.code, table.err) == (0, "")
    text = table.out.decode()
    assert "quotes/Nelson" in text
    assert "105 MiB" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_a_report_tells_what_is_left_of_the_budget_whatever_its_span(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    with_budget(path, 'origin_bytes_per_day = "20 MB"\norigin_requests_per_day = 1')
    for span in ((), ("--since", "1h"), ("--since", "30d")):
        document = json.loads(here("report", "-c", path, "--json", *span).out)
        of_bytes, of_requests = document["budget"]
        assert (of_bytes["spent"], of_bytes["left"]) == (10_000_000, 10_000_000)
        assert (of_bytes["level"], of_requests["level"]) == ("normal", "cache only")
    assert "origin requests a day" in here("report", "-c", path).out.decode()


@pytest.mark.parametrize("since", ["yesterday", "0s", "-1d", "7", "1000000d"])
def test_a_report_since_no_time_is_wrong_usage(
    here: Callable[..., Result], path: Path, since: str
) -> None:
    result = here("report", "-c", path, "--since", since)
    assert (result.code, result.out) == (2, b"")
    assert since in result.err.splitlines()[-1]


# -- torrent, magnet ------------------------------------------------------------------------------


async def test_torrent_writes_what_the_object_is(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "Nelson.torrent"
    result = await seeder("torrent", "-c", site.path, "quotes/Nelson", "-o", output)
    assert (result.code, result.out) == (0, b"")
    made = bdecode(output.read_bytes())
    own = make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH)
    assert made[b"announce"] == b"http://127.0.0.1:6969/announce"
    assert own.info in output.read_bytes()
    assert result.line == f"{output}: {own.info_hash.hex()}, 2.00 MiB, metainfo from build"
    assert site.store.body_bytes["Nelson"] == len(BODY)

    again = await seeder("torrent", "-c", site.path, "quotes/Nelson")
    assert again == Result(0, output.read_bytes(), "")
    assert site.store.body_bytes["Nelson"] == len(BODY)


async def test_with_a_web_seed_torrent_and_magnet_name_it(site: Site) -> None:
    path = trio.Path(site.path)
    await path.write_text(f"{await path.read_text()}[gateway]\nweb_seed = true\n")
    made = bdecode((await seeder("torrent", "-c", site.path, "quotes/Nelson")).out)
    assert made[b"url-list"] == [b"http://127.0.0.1:6969/quotes/Nelson"]
    link = (await seeder("magnet", "-c", site.path, "quotes/Nelson")).out
    assert b"&ws=http%3A%2F%2F127.0.0.1%3A6969%2Fquotes%2FNelson&" in link


async def test_without_a_daemon_magnet_books_what_it_reads_and_warms_the_cache(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await seeder("magnet", "-c", site.path, "quotes/Nelson")
    own = make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode() == (
        f"magnet:?xt=urn:btih:{own.info_hash.hex()}&dn=Nelson"
        f"&tr=http%3A%2F%2F127.0.0.1%3A6969%2Fannounce&x.pe={site.peer}\n"
    )
    report = await seeder("report", "-c", site.path, "--json")
    document = json.loads(report.out)
    totals, [torrent] = document["totals"], document["torrents"]
    assert (torrent["info_hash"], torrent["size"]) == (own.info_hash.hex(), len(BODY))
    assert totals["origin_bytes_by_purpose"]["hashing"] == len(BODY)
    assert totals["origin_requests"] == sum(site.store.requests.values())

    read = site.store.body_bytes.copy()
    async with trio.open_nursery() as nursery:
        node = await nursery.start(daemon.serve, load(site.path))
        with trio.fail_after(10):
            assert await trio.to_thread.run_sync(last_block, site.peer, own.info_hash)
        assert node.foundation.ledger.totals().origin_bytes >= len(BODY)
        nursery.cancel_scope.cancel()
    assert site.store.body_bytes["Nelson"] == read["Nelson"]


def last_block(address: str, info_hash: bytes) -> bool:
    """Tell whether a seeder sends the last whole block of the object as it is."""
    index = len(BODY) // PIECE_LENGTH - 1
    host, _, port = address.partition(":")
    with RawPeer(host, (host, int(port))) as peer:
        peer.greet(info_hash)
        peer.wait_for(UNCHOKE)
        peer.send(request(index))
        start = index * PIECE_LENGTH
        return peer.wait_for(PIECE)[8:] == BODY[start : start + BLOCK]


async def test_a_torrent_is_made_within_the_budget_too(site: Site) -> None:
    with_budget(site.path, f'origin_bytes_per_day = "{len(BODY)} B"')
    assert (await seeder("magnet", "-c", site.path, "quotes/Nelson")).code == 0
    # That it was read is in the ledger, and another process keeps to it.
    site.store.body_bytes.clear()
    refused = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    assert (refused.code, refused.out) == (1, b"")
    assert refused.line.startswith(f'budget.origin_bytes_per_day = "{len(BODY)} B" is spent')
    assert not site.store.body_bytes
    known = await seeder("magnet", "-c", site.path, "quotes/Nelson")
    assert (known.code, known.err) == (0, "")


async def test_beside_a_daemon_a_known_torrent_is_given_and_none_is_made(
    site: Site, tmp_path: Path
) -> None:
    known = await seeder("torrent", "-c", site.path, "quotes/Hardy")
    site.server.default = site.store.serve
    async with trio.open_nursery() as nursery:
        # Only the state directory matters: a daemon of another configuration holds it.
        other = tmp_path / "other.toml"
        other.write_text(site.path.read_text().replace('"Nelson"', '"Lady"'))
        await nursery.start(daemon.serve, load(other))
        assert await seeder("torrent", "-c", site.path, "quotes/Hardy") == known
        made = await seeder("torrent", "-c", site.path, "quotes/Nelson")
        assert (made.code, made.out) == (1, b"")
        assert made.line.startswith("quotes/Nelson: has no torrent yet")
        assert "another seeder is using it" in made.line
        nursery.cancel_scope.cancel()


async def test_a_known_torrent_is_given_while_s3_is_away(site: Site) -> None:
    known = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    site.path.write_text(
        re.sub(r"127\.0\.0\.1:\d+\"\n", '127.0.0.1:1"\n', site.path.read_text(), count=1)
    )
    result = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    assert (result.code, result.out) == (0, known.out)
    assert "the state last seen" in result.line


@pytest.mark.parametrize("command", ["torrent", "magnet"])
def test_names_that_are_not_configured_are_wrong_usage(
    here: Callable[..., Result], path: Path, command: str
) -> None:
    unknown = here(command, "-c", path, "quotes/nelson")
    assert (unknown.code, unknown.out) == (2, b"")
    assert unknown.line == (
        'quotes/nelson: is not among the configured objects; did you mean "quotes/Nelson"?'
    )
    # The bundle of a whole bucket would be named so.
    assert here(command, "-c", path, "quotes/").line == (
        "quotes/: is not among the configured objects"
    )
    for name in ("Nelson", "/"):
        wrong = here(command, "-c", path, name)
        assert wrong.code == 2
        assert repr(name) in wrong.err.splitlines()[-1]
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


async def test_a_file_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "nowhere" / "x.torrent"
    result = await seeder("torrent", "-c", site.path, "quotes/Hardy", "-o", output)
    assert (result.code, result.out) == (1, b"")
    assert result.line == f"{output}: can't be written: No such file or directory"


async def test_an_interrupted_torrent_leaves_its_progress_and_no_traceback(site: Site) -> None:
    site.store.gate = trio.Event()
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "torrent", "-c", str(site.path), "quotes/Nelson"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with trio.fail_after(30):
        while not site.store.requests["GET Nelson"]:
            await trio.lowlevel.checkpoint()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        assert await pipe.receive_some() == b""
        await pipe.aclose()


# -- demo -----------------------------------------------------------------------------------------


def start_demo(directory: Path, size: str) -> Child:
    """Start the demo in a process group of its own, with temporary files below `directory`."""
    pytest.importorskip("libtorrent", exc_type=ImportError)
    temporary = directory / "tmp"
    temporary.mkdir()
    return Child(
        [*PROGRAM, "demo", "--size", size],
        log=directory / "demo.log",
        env=environment(TMPDIR=str(temporary)),
    )


def assert_nothing_is_left(demo: Child, directory: Path) -> None:
    """Check for files, processes and listeners of a demo that has ended."""
    assert list((directory / "tmp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    output = demo.output()
    assert "Traceback" not in output, output
    assert "Error" not in output
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", output):
        with pytest.raises(ConnectionRefusedError):
            RawPeer("127.0.0.1", ("127.0.0.1", int(port)))


def test_the_demo_runs_to_its_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with start_demo(tmp_path, "4 MiB") as demo:
        assert demo.wait(60) == 0, demo.output()
        output = demo.output()
        assert "4 clients have the object, each checked" in output
        assert re.search(r"Downloads completed +4\b", output)
        assert re.search(r"From S3 +4\.00 MiB", output)
        assert_nothing_is_left(demo, tmp_path)


@pytest.mark.parametrize("moment", ["S3 server on", "status:", "leecher-4/Nelson.bin"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, moment: str) -> None:
    with start_demo(tmp_path, "64 MiB") as demo:

        def has_come() -> bool:
            return moment in demo.output() or bool(list(tmp_path.glob(f"tmp/*/{moment}")))

        demo.wait_until(has_come, timeout=30, what=moment)
        demo.signal(signal.SIGINT)
        assert demo.wait(15) == 130
        assert_nothing_is_left(demo, tmp_path)
