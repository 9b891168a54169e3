"""Fixtures of the end-to-end tests: a network, S3 servers, the daemon and clients in it.

Every test here runs inside one network namespace where that is allowed, else on 127.0.0.0/8.
Addresses: 1 is the S3 servers', 2 the daemon's, 3 to 16 are handed out to clients.
"""

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.booted import Booted, why_no_boot
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import KINDS, Client, ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.localstack import LocalStack
from tests.e2e.network import (
    DAEMON_ADDRESS,
    FIRST_CLIENT_ADDRESS,
    S3_ADDRESS,
    Namespace,
    Network,
    why_no_namespace,
)
from tests.e2e.s3 import Publisher
from tests.e2e.server import Server
from tests.e2e.swift import Swift
from tests.e2e.unit import Unit, install
from tests.support.debian import build_package, why_no_package
from tests.support.leecher import Leecher
from tests.support.sharing import run_directory, shared
from tests.support.toml import Settings

_HERE = Path(__file__).parent

S3Server = TypeVar("S3Server", bound=Server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this directory."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("e2e")


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """The network of this session's end-to-end tests; `private` tells whether it is a namespace."""
    made = Network() if why_no_namespace() else Namespace()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def inside(network: Network) -> Iterator[None]:
    """Run the test, its fixtures and what they start inside the network."""
    with network.entered():
        yield


@pytest.fixture
def namespace(network: Network) -> Network:
    """The network, for tests that need private addresses; skips where there are none."""
    if not network.private:
        pytest.skip(why_no_namespace() or "no network namespace")
    return network


@contextmanager
def _running(kind: type[S3Server], network: Network) -> Iterator[S3Server]:
    """Run a server for the session; skip whoever wants it where it can't be started."""
    if reason := kind.why_missing():
        pytest.skip(reason)
    server = kind(network.address(S3_ADDRESS))
    with network.entered():
        server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ceph(network: Network) -> Iterator[CephRGW]:
    """A Ceph RGW for all tests: use a bucket of your own."""
    with _running(CephRGW, network) as server:
        yield server


@pytest.fixture(scope="session")
def swift(network: Network) -> Iterator[Swift]:
    """An OpenStack Swift for all tests: use a bucket of your own."""
    with _running(Swift, network) as server:
        yield server


@pytest.fixture(scope="session")
def localstack(network: Network) -> Iterator[LocalStack]:
    """A LocalStack for all tests: use a bucket of your own."""
    with _running(LocalStack, network) as server:
        yield server


@pytest.fixture
def publisher(ceph: CephRGW) -> Publisher:
    """The S3 client of the user who owns the test's bucket."""
    return ceph.publisher()


@pytest.fixture
def bucket(publisher: Publisher) -> str:
    """A new, empty bucket in Ceph."""
    name = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(name)
    return name


@pytest.fixture
def seeder(network: Network, tmp_path: Path) -> Iterator[Callable[..., SeederDaemon]]:
    """Makes daemons that are killed at the end; a failure shows their logs as captured output.

    Call it with the settings; `environment` defaults to the credentials of the test's bucket.
    """
    made: list[SeederDaemon] = []

    def make(
        settings: Settings, *, environment: Mapping[str, str] | None = None, **options: Any
    ) -> SeederDaemon:
        daemon = SeederDaemon(
            settings,
            directory=tmp_path / f"seeder-{len(made)}",
            address=network.address(DAEMON_ADDRESS),
            environment=CephRGW.environment() if environment is None else environment,
            **options,
        )
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.kill()
        print(daemon.log)


@pytest.fixture
def kinds(network: Network) -> list[type[Leecher]]:
    """The clients that are installed and download in this network.

    The tests of the harness are skipped for each of the others, and say why.
    """
    return [
        kind
        for kind in KINDS
        if kind.why_missing() is None and (network.private or kind.dials_loopback)
    ]


@pytest.fixture
def client(network: Network, tmp_path: Path) -> Iterator[ClientFactory]:
    """Makes clients, each on an address of its own; skips where the program is not installed."""
    numbers = itertools.count(FIRST_CLIENT_ADDRESS)
    with ExitStack() as stack:

        def make(kind: type[Client], /, **options: Any) -> Client:
            if reason := kind.why_missing():
                pytest.skip(reason)
            number = next(numbers)
            directory = tmp_path / f"client-{number}"
            made = kind(network.address(number), directory, **options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Debian package of this tree, built once for all processes that share the tests."""
    if reason := why_no_package():
        pytest.skip(reason)
    with shared(run_directory(tmp_path_factory) / "package", build_package) as directory:
        [made] = directory.glob("*.deb")
        yield made


@pytest.fixture
def blank_machine(namespace: Network) -> Iterator[Booted]:
    """A machine with a real systemd, and nothing of the seeder, for one test."""
    if reason := why_no_boot():
        pytest.skip(reason)
    with Booted() as machine:
        yield machine


@pytest.fixture(scope="session")
def machine(network: Network, package: Path) -> Iterator[Booted]:
    """A machine with a real systemd, with the seeder in /opt/seeder/.venv and its units."""
    if reason := why_no_namespace() or why_no_boot():
        pytest.skip(reason)
    with network.entered(), Booted() as machine:
        install(machine, package)
        yield machine


@pytest.fixture
def unit(machine: Booted, network: Network, ceph: CephRGW, bucket: str) -> Iterator[Unit]:
    """seeder.service, not yet started, with one object of 8 MiB, "stays", to publish."""
    made = Unit(machine, ceph, bucket, network.address(DAEMON_ADDRESS))
    yield made
    print(made.log)
    made.close()
