"""A misbehaving S3 server, and origins that ask it."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from seeder.config.sections import OriginSettings
from seeder.s3.client import S3Origin
from seeder.s3.retry import RetryPolicy
from seeder.s3.transport import Purpose
from tests.s3.fault_server import FaultServer

MakeOrigin: TypeAlias = Callable[..., Awaitable[S3Origin]]

QUICK = RetryPolicy(first_wait=0.001, longest_wait=0.004, connect_timeout=5, read_timeout=5)


@dataclass
class CountingMeter:
    """Counts by purpose."""

    requests: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    charged: int = 0

    def origin_request(self, purpose: Purpose) -> None:
        self.requests[purpose] += 1

    def origin_received(self, purpose: Purpose, count: int) -> None:
        self.received[purpose] += count

    def requester_charged(self) -> None:
        self.charged += 1


@pytest.fixture
def meter() -> CountingMeter:
    return CountingMeter()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those of the test, and no way out to IMDS."""
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name.lower()))
    for name in ("PROFILE", "SESSION_TOKEN", "REGION", "DEFAULT_REGION", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secrettest")


@pytest.fixture
async def faults(nursery: trio.Nursery) -> FaultServer:
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
        nursery: trio.Nursery = nursery,
        **settings: Any,
    ) -> S3Origin:
        settings.setdefault("endpoint", faults.url)
        clocks = {} if clock is None else {"wall_clock": clock}
        origin = S3Origin(OriginSettings(**settings), rng=random.Random(7), policy=policy, **clocks)
        await nursery.start(origin.run)
        return origin

    return make


@pytest.fixture
async def origin(make_origin: MakeOrigin) -> S3Origin:
    return await make_origin()
