"""Torrent files and pages: every byte is booked, and leaves as the upload limits allow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
import trio

from seeder.gateway import clients, documents
from seeder.http.messages import Response
from seeder.ledger.counters import Tally
from seeder.ledger.limits import Level
from seeder.net.buckets import AddressLimiter
from seeder.units import KIB
from seeder.upload import descriptions
from tests.gateway.seeding import PATH, Seed, seeding
from tests.gateway.support import Public
from tests.http.serving import Reply, ask, get
from tests.peer.node import Limits, make_data, wait_until
from tests.tracker.announcing import HASH, SIZE, peer_id

PIECE = 16 * KIB
DATA = make_data(5 * PIECE)
LARGE = make_data(8000 * PIECE)
"""Its torrent file has 160 KB."""
RATE = 256.0 * KIB
BURST = 0.125
TORRENT, MAGNET = f"{PATH}?torrent", f"{PATH}?magnet"


def protocol(tally: Tally) -> int:
    assert tally.counters.uploaded_bytes == 0
    return tally.counters.protocol_bytes


@contextmanager
def no_faster_than(rate: float, size: int) -> Iterator[None]:
    started = time.monotonic()
    yield
    # Too slow could be the machine's fault; too fast can only be ours.
    assert time.monotonic() - started >= 0.95 * ((size - 16 * KIB) / rate - BURST)


async def raw(seed: Seed, target: str, *headers: str, method: str = "GET") -> bytes:
    """Return all that comes for one request."""
    async with await trio.open_tcp_stream("127.0.0.1", seed.port) as stream:
        await stream.send_all(get(target, *headers, "Connection: close", method=method))
        return b"".join([bytes(data) async for data in stream])


# -- counted


@pytest.mark.parametrize("limits", [Limits(), Limits(upload_rate=10.0**9)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_a_client_received_is_what_was_booked(
    tmp_path: Path, limits: Limits, method: str
) -> None:
    async with seeding(tmp_path, (LARGE, PIECE), (DATA, PIECE), limits=limits) as seed:
        of_object = len(await raw(seed, TORRENT, method=method))
        assert protocol(seed.node.tally) == of_object
        assert protocol(seed.node.elsewhere) == 0
        elsewhere = 0
        for target in (
            "/",
            "/?format=json",
            "/?format=rss",
            MAGNET,
            "/announce",
            "/b/none?torrent",
        ):
            elsewhere += len(await raw(seed, target, method=method))
        elsewhere += len(await raw(seed, "*", method=method))
        assert protocol(seed.node.elsewhere) == elsewhere
        assert protocol(seed.node.tally) == of_object


async def test_of_a_download_the_head_is_protocol_and_the_rest_payload(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        received = len(await raw(seed, PATH))
        counters = seed.node.tally.counters
        assert counters.uploaded_bytes == len(DATA)
        assert counters.protocol_bytes == received - len(DATA) > 200


async def test_who_has_it_already_costs_a_head(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, PIECE)) as seed:
        whole = await ask(seed.port, get(TORRENT, "Connection: close"))
        before = protocol(seed.node.tally)
        etag = whole.headers[b"etag"].decode()
        reply = await raw(seed, TORRENT, f"If-None-Match: {etag}")
        assert reply.startswith(b"HTTP/1.1 304 ")
        assert (
            protocol(seed.node.tally) + protocol(seed.node.elsewhere) - before == len(reply) < 500
        )


# -- limited


@pytest.mark.parametrize(
    "limits",
    [
        Limits(upload_rate=RATE),
        Limits(upload_rate_per_torrent=RATE),
        Limits(upload_rate_per_peer=RATE),
    ],
)
async def test_torrent_files_leave_no_faster_than_the_limit(tmp_path: Path, limits: Limits) -> None:
    async with seeding(tmp_path, (LARGE, PIECE), limits=limits) as seed:
        size = (await seed.ask(TORRENT, method="HEAD")).headers[b"content-length"]
        with no_faster_than(RATE, 3 * int(size)):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(_whole, seed, TORRENT, int(size))
        assert protocol(seed.node.tally) > 3 * int(size)


async def _whole(seed: Seed, target: str, size: int) -> None:
    reply = await seed.ask(target)
    assert (reply.status, len(reply.body)) == (200, size)


async def test_pages_leave_no_faster_than_the_limit(tmp_path: Path) -> None:
    rate = 24.0 * KIB
    async with seeding(tmp_path, (DATA, PIECE), limits=Limits(upload_rate=rate)) as seed:
        size = len((await seed.ask("/")).body)
        with no_faster_than(rate, 12 * size):
            for _ in range(12):
                await _whole(seed, "/", size)


async def test_a_document_takes_up_other_limits_while_it_is_on_its_way(tmp_path: Path) -> None:
    limits = Limits(upload_rate=1.0 * KIB)  # it would take minutes
    async with seeding(tmp_path, (LARGE, PIECE), limits=limits) as seed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw, seed, TORRENT)
            await wait_until(lambda: len(seed.documents) == 1)
            with trio.fail_after(60):
                seed.node.uploads.change(Limits())
                await wait_until(lambda: len(seed.documents) == 0)
        assert protocol(seed.node.tally) > 160_000


# -- allowed to an address


async def test_an_address_gets_so_many_copies_of_a_torrent_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "LEAST", 0)
    monkeypatch.setattr(descriptions, "DESCRIPTIONS", 1)
    limits = Limits(copies_per_address=3.0)
    async with seeding(tmp_path, (LARGE, PIECE), (DATA, PIECE), limits=limits) as seed:
        assert (await seed.ask(TORRENT, method="HEAD")).status == 200
        replies = [await seed.ask(TORRENT) for _ in range(5)]
        assert [reply.status for reply in replies] == [200, 200, 200, 503, 503]
        _says(replies[-1], "often enough")
        etag = replies[0].headers[b"etag"].decode()
        assert (await seed.ask(TORRENT, f"If-None-Match: {etag}")).status == 304
        assert (await seed.ask("/b/object-1?torrent")).status == 200
        assert (await seed.ask(MAGNET)).status == 200


def announce(name: str, *more: str) -> str:
    fields = [
        f"info_hash={quote_from_bytes(HASH)}",
        f"peer_id={quote_from_bytes(peer_id(name))}",
        "port=2000",
        f"left={SIZE}",
        *more,
    ]
    return f"/announce?{'&'.join(fields)}"


def _says(reply: Reply, text: str) -> None:
    assert reply.status == 503
    assert text in reply.body.decode()


async def test_what_was_not_sent_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "LEAST", 0)
    monkeypatch.setattr(descriptions, "DESCRIPTIONS", 1)
    limits = Limits(copies_per_address=2.0, upload_rate=16.0 * KIB)
    async with seeding(tmp_path, (LARGE, PIECE), limits=limits) as seed:
        for _ in range(10):
            async with await trio.open_tcp_stream("127.0.0.1", seed.port) as stream:
                await stream.send_all(get(TORRENT))
                await wait_until(lambda: len(seed.documents) == 1)
            seed.node.uploads.change(limits)
            # The connection notices at its next send.
            seed.node.uploads.change(Limits(copies_per_address=2.0))
            await wait_until(lambda: len(seed.documents) == 0)
            seed.node.uploads.change(limits)
        assert protocol(seed.node.tally) > 0


async def test_a_long_reply_counts_as_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LONG_REPLY", 100)
    public = Public(limiter=AddressLimiter(1e-9, 20))

    def answered(response: Response) -> bool:
        assert isinstance(response.body, bytes)
        return b"too many requests" not in response.body

    assert answered(public.get("/announce"))
    for number in range(40):
        public.get(announce(chr(65 + number)), peer=f"192.0.3.{number}")
    answers = [answered(public.get(announce("a", "compact=0"))) for _ in range(5)]
    assert not all(answers)
    assert answered(public.get(announce("a"), peer="192.0.2.99"))


# -- held


async def test_documents_make_room_for_those_of_other_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MOST_DOCUMENTS", 5)
    options: dict[str, Any] = {"proxies": ["127.0.0.1"]}
    limits = Limits(upload_rate=16.0 * KIB)
    async with (
        seeding(tmp_path, (LARGE, PIECE), limits=limits, **options) as seed,
        trio.open_nursery() as nursery,
    ):
        for number in range(5):
            nursery.start_soon(raw, seed, TORRENT, f"X-Forwarded-For: 192.0.2.{number + 1}")
        await wait_until(lambda: len(seed.documents) == 5)
        refused = await seed.ask(TORRENT, "X-Forwarded-For: 192.0.2.77")
        _says(refused, "busy")
        nursery.start_soon(raw, seed, TORRENT, "X-Forwarded-For: 198.51.100.1")
        networks = seed.documents._all
        await wait_until(lambda: networks.share((b"", b"\xc6\x33\x64")) == 1)
        assert len(seed.documents) == 5
        assert len(seed.documents._bodies) == 1
        seed.node.uploads.change(Limits())


async def test_no_more_than_so_much_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MOST_HELD", 200_000)
    limits = Limits(upload_rate=16.0 * KIB)
    other = make_data(8000 * PIECE, seed=2)
    async with (
        seeding(tmp_path, (LARGE, PIECE), (other, PIECE), limits=limits) as seed,
        trio.open_nursery() as nursery,
    ):
        for _ in range(3):
            nursery.start_soon(raw, seed, TORRENT)
        await wait_until(lambda: len(seed.documents) == 3)
        _says(await seed.ask("/b/object-1?torrent"), "busy")
        seed.node.uploads.change(Limits())
        await wait_until(lambda: len(seed.documents) == 0)
        assert (await seed.ask("/b/object-1?torrent")).status == 200


# -- budgeted


async def test_a_spent_budget_keeps_torrent_files_and_pages(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, PIECE)) as seed:
        seed.hold_back(Level.TRACKER_ONLY)
        seed.node.uploads.spent = "uploaded_bytes_per_day"
        before = protocol(seed.node.tally)
        for target in (TORRENT, "/"):
            reply = await seed.ask(target)
            _says(reply, "the budget is spent (uploaded_bytes_per_day)")
        assert (await seed.ask("/announce")).status == 200
        assert (await seed.ask(MAGNET)).status == 200
        assert protocol(seed.node.tally) - before < KIB
        seed.hold_back(Level.NORMAL)
        assert (await seed.ask(TORRENT)).status == 200


async def test_a_document_under_way_is_cut_off_by_a_spent_budget(tmp_path: Path) -> None:
    limits = Limits(upload_rate=16.0 * KIB)
    async with seeding(tmp_path, (LARGE, PIECE), limits=limits) as seed:
        received: list[bytes] = []

        async def fetch() -> None:
            received.append(await raw(seed, TORRENT))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            await wait_until(lambda: protocol(seed.node.tally) > 1000)
            seed.hold_back(Level.TRACKER_ONLY)
        assert len(received[0]) < 100_000
        assert protocol(seed.node.tally) == len(received[0])
