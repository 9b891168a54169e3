"""Which exit code a start that fails ends with: 2 where the configuration has to be mended first,
1 where all of it may be right at the next start, for which the service manager sees then.
"""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.commands.support import PROGRAM, Result, environment, write_settings
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.toml import Settings, toml

KEY = {"access_key_id": "A-1", "secret_file": "it", "objects": ["quotes/*"]}
KEYS = {"gateway": {"keys": [KEY]}}
EVENTS = {"events": [{"name": "hook", "token_file": "it"}]}
CLUSTER = {"cluster": {"store": "redis://127.0.0.1:1", "password_file": "it"}}
AUTHORITY = {"cluster": {"store": "rediss://127.0.0.1:1", "ca_file": "it"}}
TORRENT = {"objects": [{"bucket": "quotes", "key": "third", "torrent_file": "it"}]}
"""Settings that name a file "it"."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(tmp_path: Path, peer: str = "127.0.0.1:0") -> Path:
    """Write settings that need nothing of the machine but what is asked for with them."""
    made = write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1", peer)
    made.write_text(made.read_text().replace('"listen" = []', '"listen" = ["127.0.0.1:0"]'))
    return made


def start(path: Path) -> Result:
    """Start a daemon that can't, and return how it ended."""
    done = subprocess.run(
        [*PROGRAM, "run", "-c", path],
        capture_output=True,
        check=False,
        env=environment(),
        timeout=60,
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


def put(path: Path, settings: Settings) -> None:
    path.write_text(path.read_text() + toml(settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (KEYS, "gateway.keys[0]: the secret of A-1: {it} can't be read: No such file"),
        (EVENTS, "events[0]: the token of hook: {it} can't be read: No such file"),
        (CLUSTER, "cluster: the store's password: {it} can't be read: No such file"),
        (AUTHORITY, 'cluster.ca_file = "it": want a file, and there is none at {it}'),
        (TORRENT, 'objects[2].torrent_file = "it": want a file, and there is none at {it}'),
    ],
)
def test_a_file_that_is_not_there_yet_may_be_there_at_the_next_start(
    path: Path, settings: Settings, said: str
) -> None:
    put(path, settings)
    ended = start(path)
    assert ended.line.startswith(said.format(it=path.parent / "it"))
    assert ended.code == 1


def test_a_secret_that_is_none_is_mended_without_the_configuration(path: Path) -> None:
    put(path, KEYS)
    (path.parent / "it").write_text("short")
    (path.parent / "it").chmod(0o600)
    ended = start(path)
    assert (ended.code, "want one line of 16" in ended.line) == (1, True)


def test_a_certificate_whose_time_has_not_come_may_be_good_when_the_clock_is_set(
    path: Path, tmp_path: Path
) -> None:
    certificate, key = Authority().write_pair(tmp_path, ["t.example.org"], days=(1, 90))
    text = path.read_text()
    files = f'tls_certificate = "{certificate}"\ntls_key = "{key}"'
    path.write_text(text.replace('["tracker"]\n', f'["tracker"]\n{files}\n'))
    ended = start(path)
    assert (ended.code, "is this machine's clock right?" in ended.line) == (1, True)


def test_a_port_that_is_taken_may_be_free_at_the_next_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start(write(tmp_path, f"127.0.0.1:{port}"))
    assert ended.line.startswith(f"peer.listen: can't listen on 127.0.0.1:{port}: Address already")
    assert ended.code == 1


def test_two_listeners_of_the_file_that_take_each_others_port_are_a_mistake(
    tmp_path: Path,
) -> None:
    port = free_port("127.0.0.1")
    path = write(tmp_path, f"127.0.0.1:{port}")
    path.write_text(path.read_text().replace("127.0.0.1:0", f"0.0.0.0:{port}", 1))
    ended = start(path)
    assert (ended.code, "peer.listen: can't listen on" in ended.line) == (2, True)


def test_an_absent_file_beside_a_mistake_is_still_a_mistake(path: Path) -> None:
    put(path, TORRENT | {"surprise": {}})
    ended = start(path)
    assert (ended.code, len(ended.err.splitlines())) == (2, 2)


def test_a_wrong_file_is_not_tried_again(path: Path) -> None:
    put(path, {"surprise": {}})
    ended = start(path)
    assert (ended.code, "surprise: unknown" in ended.line) == (2, True)
