"""What holds for every test, and the S3 server that misbehaves on demand."""

import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from seeder.config.origins import OriginSettings
from seeder.s3.calls import Allowance
from seeder.s3.client import S3Origin
from seeder.s3.retry import RetryPolicy
from tests.s3.fault_server import FaultServer
from tests.s3.support import QUICK, CountingMeter, MakeOrigin
from tests.support.processes import clean_environment
from tests.support.redis import RedisServer, why_no_redis

# Deadlines measure the machine: a first draw of text takes seconds on a busy one. Each version is
# tried with the same examples by all who run the tests; `--hypothesis-profile=search` draws others.
hypothesis_settings.register_profile(
    "search", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.register_profile(
    "seeder", hypothesis_settings.get_profile("search"), derandomize=True, database=None
)
hypothesis_settings.load_profile("seeder")


class LibtorrentIsLacking:
    """Where Python is too new for libtorrent's packages, what imports it is skipped."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Skip the module, or the test, that imports it (importlib's finders, the last of them)."""
        if name == "libtorrent":
            pytest.skip("libtorrent has no package for this Python", allow_module_level=True)
        return None


if find_spec("libtorrent") is None:
    sys.meta_path.append(LibtorrentIsLacking)


def pytest_collection_finish() -> None:
    """Have garbage looked for among what tests make: a million objects of theirs stay anyway."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def surroundings() -> None:
    """Make it one how the tests were started: in the background, by nohup, by a service manager.

    What this process ignores, each program that it starts would ignore too. A handler that does
    nothing ignores a signal as well, but ends at exec.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    for name in os.environ.keys() - clean_environment().keys():
        del os.environ[name]


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger; a test leaves it, and the levels of all, as they were.

    What a command or a daemon in this process sets would else hold for all later tests: records
    that are kept for a failure's report are memory, too, of which some tests count the blocks.
    """
    root, names = logging.getLogger(), logging.root.manager.loggerDict
    handlers, before = root.handlers[:], root.level
    levels = {name: each.level for name, each in names.items() if isinstance(each, logging.Logger)}
    yield root
    root.handlers[:] = handlers
    root.setLevel(before)
    for name, each in tuple(names.items()):
        level = levels.get(name, logging.NOTSET)
        if isinstance(each, logging.Logger) and each.level != level:
            each.setLevel(level)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets the credentials of whoever runs it, or asks the cloud's metadata service."""
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", f"/nonexistent/{name.lower()}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secrettest")


@pytest.fixture
def meter() -> CountingMeter:
    """Count what is asked of S3, and what comes."""
    return CountingMeter()


@pytest.fixture
async def faults(nursery: trio.Nursery) -> FaultServer:
    """Run an S3 server for which the test writes the answers."""
    server = FaultServer()
    await nursery.start(server.run)
    return server


@pytest.fixture
def make_origin(nursery: trio.Nursery, faults: FaultServer) -> MakeOrigin:
    """Return a maker of running origins; they ask the misbehaving server unless told otherwise."""

    async def make(
        *,
        policy: RetryPolicy = QUICK,
        clock: Any = None,
        allowance: Allowance | None = None,
        nursery: trio.Nursery = nursery,
        **settings: Any,
    ) -> S3Origin:
        settings.setdefault("endpoint", faults.url)
        clocks = {} if clock is None else {"wall_clock": clock}
        origin = S3Origin(
            OriginSettings(**settings),
            rng=random.Random(7),
            policy=policy,
            allowance=allowance,
            **clocks,
        )
        await nursery.start(origin.run)
        return origin

    return make


@pytest.fixture
async def origin(make_origin: MakeOrigin) -> S3Origin:
    """Return an origin that runs and asks the misbehaving server."""
    return await make_origin()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Run a Redis; skip where there is none."""
    if reason := why_no_redis():
        pytest.skip(reason)
    with RedisServer() as server:
        yield server
