"""What tests of whatever asks S3 use: a quick retry policy, a meter, the type of a fixture."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from seeder.s3.client import S3Origin
from seeder.s3.retry import RetryPolicy
from seeder.torrent.objects import Purpose

MakeOrigin: TypeAlias = Callable[..., Awaitable[S3Origin]]


QUICK = RetryPolicy(
    patience=0,
    hopeless_wait=0,
    first_wait=0.001,
    longest_wait=0.004,
    connect_timeout=5,
    read_timeout=5,
)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    with trio.fail_after(60):
        while True:
            if condition():
                return
            await trio.sleep(0.001)


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
