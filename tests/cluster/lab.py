"""Nodes over a real Redis whose every step the test takes: commands are lost, doubled and late.

There is no time in it but the test's. Each step runs in a loop of its own, which never waits.
"""

import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeVar

import trio

from seeder.cluster.clock import SharedClock
from seeder.cluster.exchange import SwarmExchange
from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.store import Argument, Reply, Script, StreamEntry, listed, texted
from seeder.errors import StoreAway
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceReply, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import Counted
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import Ledger

MICRO = 1_000_000
EPOCH = 1_800_000_000
Result = TypeVar("Result")


class Wire:
    """A connection to Redis that is asked by one command after the other."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def ask(self, *words: Argument) -> Reply:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        sent = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)]
        self._socket.sendall(b"".join(sent))
        return self._reply()

    def _reply(self) -> Reply:
        kind, text = (line := self._file.readline())[:1], line[1:-2]
        if kind == b"-":
            raise AssertionError(text.decode())
        if kind == b"+":
            return text
        number = int(text)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return self._file.read(number + 2)[:-2]
        return [self._reply() for _ in range(number)]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class UnsteadyStore:
    """What a node asks of Redis; `fate` says what becomes of the next commands."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.fate: list[str] = []
        self.late: list[tuple[Argument, ...]] = []
        """Commands that are on their way yet."""
        self.asked = 0

    async def run_links(self) -> None:
        await trio.sleep_forever()

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument] = ()
    ) -> Reply:
        command = (b"EVAL", script.text, len(keys), *keys, *arguments)
        self.asked += 1
        fate = self.fate.pop() if self.fate else "well"
        if fate == "lost":
            raise StoreAway("was lost")
        if fate == "late":
            self.late.append(command)
            raise StoreAway("is late")
        reply = self._wire.ask(*command)
        if fate == "unanswered":
            raise StoreAway("its answer was lost")
        return self._wire.ask(*command) if fate == "doubled" else reply

    def deliver(self) -> None:
        """Have everything arrive that is on its way, the last first."""
        while self.late:
            self._wire.ask(*self.late.pop())

    async def read(
        self, stream: bytes, after: bytes, *, most: int, wait: float
    ) -> list[StreamEntry]:
        assert wait
        if self.fate and self.fate.pop() != "well":
            raise StoreAway("was lost")
        reply = self._wire.ask(b"XREAD", b"COUNT", most, b"STREAMS", stream, after)
        if reply is None:
            return []
        [found] = listed(reply)
        _, entries = listed(found)
        parts = [listed(entry) for entry in listed(entries)]
        return [
            StreamEntry(texted(name), [texted(field) for field in listed(fields)])
            for name, fields in parts
        ]


class StillClock(trio.abc.Clock):
    """A clock that the test sets; whatever waits for it would wait for ever."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0 if deadline <= self.now else 5.0 if deadline < inf else inf


class Members:
    """All nodes, as each knows them."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.name = name
        self.names = names
        self.era_listeners: list[Callable[[], None]] = []


@dataclass
class LabNode:
    """One node: its own clock is `skew` seconds ahead of true time (s)."""

    name: str
    names: tuple[str, ...]
    policy: SwarmPolicy
    wire: Wire
    sizes: dict[InfoHash, int]
    skew: float

    def __post_init__(self) -> None:
        self.counts = {info_hash: Ledger() for info_hash in self.sizes}
        self.true = 0.0
        self._begin()

    def _begin(self) -> None:
        self.clock = StillClock()
        self.store = UnsteadyStore(self.wire)
        # Its wall clock is wrong, too, until the store has told its own.
        self.shared = SharedClock(self.clock.current_time, EPOCH + 2 * self.skew)
        self.members = Members(self.name, self.names)
        self.swarms = Swarms(self.policy, OwnSeeder(6881), rng=random.Random(1))
        self.exchange = SwarmExchange(
            self.swarms,
            store=self.store,
            keys=Keys("seeder"),
            clock=self.shared,
            health=Health("lab", lambda: 0.0),
            membership=self.members,  # type: ignore[arg-type]
        )

    def open(self) -> None:
        for info_hash, size in self.sizes.items():
            counts = self.counts[info_hash]
            counted = Counted(counts.completions, counts.delivered)
            self.swarms.open(info_hash, size=size, claims=counts, counted=counted)

    def at(self, true: float) -> float:
        """Set the node's clock to a moment of true time, and return what it shows."""
        self.true = true
        self.clock.now = true + self.skew
        return self.clock.now

    def hear_time(self) -> None:
        """Take in the time by the store's clock, with a few milliseconds on the way."""
        now = self.clock.now
        self.shared.note(now - 0.0004, now + 0.0004, round((EPOCH + self.true) * MICRO))

    def do(self, step: Callable[[], Awaitable[Result]]) -> Result | None:
        """Take a step; None if the store was away."""

        async def run() -> Result | None:
            try:
                return await step()
            except StoreAway:
                return None

        return trio.run(run, clock=self.clock)

    def tell(self) -> None:
        self.do(self.exchange._teller.tell_news)

    def hear(self) -> None:
        async def step() -> None:
            try:
                await self.exchange._hear_some()
            except StoreAway:
                self.exchange._unsure = True

        self.do(step)

    def read(self) -> None:
        self.do(self.exchange._read_wanted)

    def announce(self, request: AnnounceRequest, source: bytes) -> AnnounceReply:
        return self.swarms.announce(request, source, None, self.clock.now)

    def restart(self, down: float, step: float) -> None:
        """Stop, and start again later with another monotonic clock; the wall clock is kept."""
        rows = list(self.swarms.export(self.clock.now))
        self.skew += step
        self._begin()
        self.at(self.true + down)
        self.hear_time()
        self.swarms.restore(rows, self.clock.now, elapsed=down)
        self.open()

    def listed(self) -> dict[InfoHash, set[bytes]]:
        found = {}
        for info_hash in self.sizes:
            swarm = self.swarms._kept_swarm(info_hash)
            assert swarm is not None
            found[info_hash] = set(swarm.endpoints())
        return found
