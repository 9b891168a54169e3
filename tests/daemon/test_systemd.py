"""What systemd is told, what it passes in, and the units that are shipped."""

import ctypes
import difflib
import os
import pkgutil
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import seeder
from seeder.config.node import AdminSettings, CacheSettings
from seeder.config.public import PeerSettings, TrackerSettings
from seeder.config.sections import Config
from seeder.daemon.listeners import open_listeners
from seeder.daemon.systemd import Notifier, activated_sockets, watchdog_interval
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort

UNITS = Path(__file__).parents[2] / "systemd"
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket, by path and in the abstract namespace."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name if request.param == "path" else f"\0{name}")
        receiver.settimeout(5)
        yield receiver


def notifier_for(receiver: socket.socket) -> Notifier:
    address = receiver.getsockname()
    name = address if isinstance(address, str) else "@" + address[1:].decode()
    return Notifier.from_environment({"NOTIFY_SOCKET": name})


def test_every_state_reaches_the_manager(manager: socket.socket) -> None:
    notifier = notifier_for(manager)
    notifier.ready()
    assert manager.recv(4096) == b"READY=1"
    notifier.going_on(60)
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=60000000"
    notifier.stopping()
    assert manager.recv(4096) == b"STOPPING=1"
    notifier.watchdog()
    assert manager.recv(4096) == b"WATCHDOG=1"
    notifier.status("seeding 3 torrents, é")
    assert manager.recv(4096) == "STATUS=seeding 3 torrents, é".encode()


def test_a_reload_carries_the_monotonic_time(manager: socket.socket) -> None:
    notifier_for(manager).reloading()
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(value) > 0


def test_a_status_cannot_smuggle_in_another_state(manager: socket.socket) -> None:
    notifier_for(manager).status("key\nSTOPPING=1\x00\x1b[31m" + "x" * 5000 + "\udcff")
    message = manager.recv(65536)
    assert message.startswith(b"STATUS=key STOPPING=1  [31mxxx")
    assert b"\n" not in message
    assert len(message) < 1100


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/no/such/socket"},
        {"NOTIFY_SOCKET": "@no-such-socket-of-the-seeder"},
        {"NOTIFY_SOCKET": "/" + "x" * 300},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/a\0b"},
    ],
)
def test_a_notifier_never_raises(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ)
    notifier.ready()
    notifier.reloading()
    notifier.status("x")
    notifier.watchdog()
    notifier.stopping()


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        notifier = notifier_for(receiver)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            full = False
            while not full:
                try:
                    sender.sendto(b"x" * 1000, receiver.getsockname())
                except BlockingIOError:
                    full = True
        notifier.watchdog()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(environ) == seconds


Pass = Callable[..., dict[str, str]]
FIRST = 200  # a run of descriptors that nothing else uses


@pytest.fixture
def passed() -> Iterator[Pass]:
    """Put descriptors where systemd would put them, and return its variables."""
    count = 0

    def put(*descriptors: int, names: str) -> dict[str, str]:
        nonlocal count
        for descriptor in descriptors:
            os.dup2(descriptor, FIRST + count)
            count += 1
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}

    yield put
    for position in range(count):
        try:
            os.close(FIRST + position)
        except OSError:
            continue  # taken over, and closed


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_sockets_come_by_name(listener: socket.socket, passed: Pass) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as second:
        environ = passed(
            listener.fileno(), second.fileno(), listener.fileno(), names="peer:tracker:peer"
        )
        environ["OTHER"] = "kept"
        sockets = activated_sockets(environ, first=FIRST)
    assert environ == {"OTHER": "kept"}
    assert sorted(sockets) == ["peer", "tracker"]
    assert [each.getsockname() for each in sockets["peer"]] == [listener.getsockname()] * 2
    assert sockets["tracker"][0].family == socket.AF_INET6
    for each in (*sockets["peer"], *sockets["tracker"]):
        assert not each.getblocking()
        assert not each.get_inheritable()
        each.close()


def test_a_passed_socket_accepts(listener: socket.socket, passed: Pass) -> None:
    environ = passed(listener.fileno(), names="tracker")
    (taken,) = activated_sockets(environ, first=FIRST)["tracker"]
    with taken, socket.create_connection(listener.getsockname()) as client:
        taken.settimeout(5)
        connection, address = taken.accept()
        assert address == client.getsockname()
        connection.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"LISTEN_PID": "1"},
        {"LISTEN_PID": ""},
        {"LISTEN_FDS": "0"},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "x"},
        {"LISTEN_FDS": ""},
    ],
)
def test_sockets_for_another_process_are_left(
    listener: socket.socket, passed: Pass, changed: dict[str, str]
) -> None:
    environ = passed(listener.fileno(), names="tracker") | changed
    assert activated_sockets(environ, first=FIRST) == {}
    assert environ == {}
    os.fstat(FIRST)  # still open


def test_no_variables_mean_no_sockets() -> None:
    assert activated_sockets({}) == {}


def test_what_cannot_be_used_is_named_and_closed(
    listener: socket.socket, passed: Pass, tmp_path: Path
) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local,
        (tmp_path / "file").open("wb") as file,
    ):
        local.bind(str(tmp_path / "s"))
        local.listen()
        environ = passed(
            listener.fileno(),
            listener.fileno(),
            datagram.fileno(),
            local.fileno(),
            file.fileno(),
            names="admin:http:admin:peer:peer",
        )
        with pytest.raises(ConfigError) as caught:
            activated_sockets(environ, first=FIRST)
    unknown, datagrams, unix, no_socket = caught.value.problems
    assert unknown == (
        'LISTEN_FDNAMES: "http" is unknown; set FileDescriptorName to one of tracker, tracker-tls,'
        " peer, admin"
    )
    assert datagrams.startswith("admin: systemd passed a socket that doesn't listen")
    assert unix.startswith("peer: systemd passed a socket that is not of IPv4 or IPv6")
    assert no_socket.startswith(f"LISTEN_FDS: descriptor {FIRST + 4} is no socket")
    for position in range(4):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(FIRST + position)


async def test_the_tracker_takes_a_datagram_socket_for_its_udp(
    listener: socket.socket, passed: Pass, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        environ = passed(listener.fileno(), datagram.fileno(), names="tracker:tracker")
        stream, udp = activated_sockets(environ, first=FIRST)["tracker"]
        with stream, udp:
            activated = {"tracker": [stream, udp]}
            anywhere = (HostPort("127.0.0.1", 0),)
            config = Config(
                state_directory=tmp_path,
                origins={},
                objects=(),
                cache=CacheSettings(directory=tmp_path),
                peer=PeerSettings(listen=anywhere),
                admin=AdminSettings(listen=anywhere),
            )
            listeners = open_listeners(config, activated)
            with closing(listeners):
                assert listeners.tracker == [stream]
                assert listeners.tracker_udp == [udp]


@pytest.mark.parametrize(
    ("names", "certified", "plain", "secure"),
    [
        ("tracker:tracker-tls", True, 1, 1),
        ("tracker:tracker", True, 0, 2),
        ("tracker:tracker", False, 2, 0),
    ],
)
async def test_the_trackers_sockets_speak_tls_unless_it_has_some_of_its_own(
    listener: socket.socket,
    passed: Pass,
    tmp_path: Path,
    names: str,
    *,
    certified: bool,
    plain: int,
    secure: int,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        environ = passed(listener.fileno(), other.fileno(), names=names)
        activated = activated_sockets(environ, first=FIRST)
        anywhere = (HostPort("127.0.0.1", 0),)
        files = {"tls_certificate": tmp_path, "tls_key": tmp_path} if certified else {}
        config = Config(
            state_directory=tmp_path,
            origins={},
            objects=(),
            tracker=TrackerSettings.model_validate(files),
            cache=CacheSettings(directory=tmp_path),
            peer=PeerSettings(listen=anywhere),
            admin=AdminSettings(listen=anywhere),
        )
        with closing(open_listeners(config, activated)) as listeners:
            assert (len(listeners.tracker), len(listeners.tracker_tls)) == (plain, secure)
            assert listeners.main == (listeners.tracker_tls if secure else listeners.tracker)


async def test_a_socket_for_tls_without_a_certificate_is_refused(
    listener: socket.socket, passed: Pass, tmp_path: Path
) -> None:
    activated = activated_sockets(passed(listener.fileno(), names="tracker-tls"), first=FIRST)
    anywhere = (HostPort("127.0.0.1", 0),)
    config = Config(
        state_directory=tmp_path,
        origins={},
        objects=(),
        tracker=TrackerSettings(listen=anywhere),
        cache=CacheSettings(directory=tmp_path),
        peer=PeerSettings(listen=anywhere),
        admin=AdminSettings(listen=anywhere),
    )
    with pytest.raises(ConfigError, match="tls_certificate: is missing, without which the socket"):
        open_listeners(config, activated)


def test_missing_names_are_refused(listener: socket.socket, passed: Pass) -> None:
    environ = passed(listener.fileno(), listener.fileno(), names="tracker")
    with pytest.raises(ConfigError, match='"" is unknown'):
        activated_sockets(environ, first=FIRST)


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is absent"
)
def test_systemds_own_activator_is_understood(tmp_path: Path) -> None:
    program = (
        "from seeder.daemon.systemd import activated_sockets\n"
        "taken = activated_sockets()\n"
        "(listener,) = taken['peer']\n"
        "listener.setblocking(True)\n"
        "connection, _ = listener.accept()\n"
        "connection.sendall(','.join(taken).encode())\n"
    )
    # It can't tell which port it got, so one is found and left just before.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    listen = f"--listen={address[0]}:{address[1]}"
    command = ["systemd-socket-activate", listen, "--fdname=peer", sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            assert process.stderr is not None
            assert b"Listening on" in process.stderr.readline()
            with socket.create_connection(address, timeout=20) as client:
                assert client.recv(100) == b"peer"
            process.communicate(timeout=20)
        finally:
            process.kill()


ANALYZE = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is absent (Debian's package systemd has it)",
)


@ANALYZE
def test_the_units_are_flawless() -> None:
    units = sorted(str(unit) for unit in UNITS.iterdir())
    result = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    # It exits 0 on a misspelt key, so its words are what counts.
    complaints = [
        line
        for line in result.stderr.splitlines()
        if line and "Command /opt/seeder/.venv/bin/seeder is not executable" not in line
    ]
    assert complaints == []
    assert len(units) == 6


def test_the_unit_of_several_nodes_is_that_of_one_but_for_what_is_theirs() -> None:
    one, several = (
        [line for line in (UNITS / name).read_text().splitlines() if not line.startswith("#")]
        for name in ("seeder.service", "seeder@.service")
    )
    differences = [line for line in difflib.ndiff(one, several) if line[0] in "-+"]
    assert [line[2:] for line in differences if line[0] == "-"] == [
        "Description=BitTorrent seeder and tracker for S3 objects",
        "ExecStart=/opt/seeder/.venv/bin/seeder run -c /etc/seeder/seeder.toml",
        "ExecReload=/opt/seeder/.venv/bin/seeder reload --wait -c /etc/seeder/seeder.toml",
        "StateDirectory=seeder",
        "CacheDirectory=seeder",
    ]
    assert [line[2:] for line in differences if line[0] == "+"] == [
        "Description=BitTorrent seeder and tracker for S3 objects, node %i of this machine",
        "ExecStart=/opt/seeder/.venv/bin/seeder run -c /etc/seeder/seeder.toml --instance %i",
        "ExecReload="
        "/opt/seeder/.venv/bin/seeder reload --wait -c /etc/seeder/seeder.toml --instance %i",
        # Processes of several users can't share a port.
        "User=seeder",
        "StateDirectory=seeder/%i",
        "CacheDirectory=seeder/%i",
    ]


@ANALYZE
@pytest.mark.parametrize("unit", ["seeder.service", "seeder@.service"])
def test_the_service_is_exposed_as_little_as_it_can_be(unit: str) -> None:
    result = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=11",
            UNITS / unit,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_socket_units_open_what_the_defaults_open() -> None:
    from seeder.config.node import AdminSettings
    from seeder.config.public import PeerSettings, TrackerSettings

    for name, section in (
        ("tracker", TrackerSettings()),
        ("peer", PeerSettings()),
        ("admin", AdminSettings()),
    ):
        lines = (UNITS / f"seeder-{name}.socket").read_text().splitlines()
        assert f"FileDescriptorName={name}" in lines
        assert "Service=seeder.service" in lines
        (address,) = section.listen
        assert f"ListenStream={address}" in lines


PR_SET_MDWE = 65
PR_GET_MDWE = 66


def kernel_can_deny_write_execute() -> bool:
    """Tell whether prctl(2) knows MDWE (Linux 6.3)."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0)


@pytest.mark.skipif(not kernel_can_deny_write_execute(), reason="this kernel has no PR_SET_MDWE")
def test_every_module_loads_under_memory_deny_write_execute() -> None:
    """The unit sets MemoryDenyWriteExecute, which breaks programs that write code at run time."""
    names = (module.name for module in pkgutil.walk_packages(seeder.__path__, "seeder."))
    modules = [name for name in names if not name.endswith("__main__")]
    program = (
        "import ctypes, importlib, sys\n"
        f"assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0) == 0\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import ssl, sqlite3, trio\n"
        "ssl.create_default_context()\n"
        "sqlite3.connect(':memory:').close()\n"
        "trio.run(trio.to_thread.run_sync, print, 'ok')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *modules],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
