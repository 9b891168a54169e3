"""GetObjectTorrent, and the ways in which servers get it wrong."""

import pytest
import trio
import trio.testing

from seeder.errors import AccessDenied, OriginFault, TorrentUnsupported
from seeder.s3.client import S3Origin
from seeder.s3.network import Stream
from seeder.torrent.info import LARGEST_TORRENT_FILE
from tests.s3.fault_server import (
    FaultServer,
    Reply,
    Seen,
    answer,
    endless,
    error,
    head,
    raw,
    signature_is_valid,
)
from tests.s3.samples import GOOD, PIECE, PINNED, read
from tests.s3.support import CountingMeter


async def test_a_torrent_is_handed_on_as_it_came(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, b"d4:infod" + bytes(1000)))
    assert await origin.get_torrent(PINNED, meter) == b"d4:infod" + bytes(1000)
    assert faults.seen[0].target == "/quotes/Nelson?torrent"
    assert signature_is_valid(faults.seen[0], "secrettest")
    assert meter.received == {"metainfo": 1008}


async def test_a_torrent_never_leaves_its_connection_for_others(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """Ceph 20 announces no body and sends one: on a kept connection it is the next answer."""

    async def lying(seen: Seen, stream: trio.abc.Stream) -> None:
        stolen = head(200, [("content-length", "3"), ("etag", '"x"')]) + b"bad"
        await stream.send_all(head(200, [("content-length", "0")]) + stolen)
        await stream.receive_some(1)  # keeps it open, whatever the client wished

    faults.script(GOOD, lying, GOOD)
    await read(origin, meter)
    with pytest.raises(OriginFault, match="empty"):
        await origin.get_torrent(PINNED, meter)
    assert await read(origin, meter) == PIECE
    first, torrent, after = faults.seen
    assert torrent.headers["connection"] == "close"
    assert after.connection > max(first.connection, torrent.connection)


async def test_an_object_instead_of_a_torrent_is_left_at_its_first_byte(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the kernel has got meanwhile is counted as well; here it is about what we take.
    monkeypatch.setattr(Stream, "unread", 0)
    faults.script(endless(b"not bencoded", b"x" * 65536))
    with pytest.raises(OriginFault, match="the object itself"):
        await origin.get_torrent(PINNED, meter)
    assert meter.received["metainfo"] < 2_000_000


async def test_a_torrent_that_announces_too_much_is_not_read(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    announced = head(200, [("content-length", str(LARGEST_TORRENT_FILE + 1))])
    faults.script(raw(announced, b"d" * 5))
    with pytest.raises(OriginFault, match="longer than any torrent"):
        await origin.get_torrent(PINNED, meter)
    assert meter.received["metainfo"] <= 5  # they may have come with the head


async def test_a_torrent_without_an_end_is_left_at_the_cap(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "unread", 0)
    faults.script(endless(b"d", b"x" * 65536))
    with pytest.raises(OriginFault, match="longer than any torrent"):
        await origin.get_torrent(PINNED, meter)
    assert LARGEST_TORRENT_FILE < meter.received["metainfo"] < LARGEST_TORRENT_FILE + 2_000_000


@pytest.mark.parametrize(
    ("reply", "for_every_key"),
    [
        (error(405, "MethodNotAllowed"), True),
        (error(501, "NotImplemented"), True),
        (error(400, "InvalidRequest"), False),
        (error(404, "NoSuchKey"), False),
    ],
)
async def test_an_origin_without_torrents_is_told_from_one_that_fails(
    origin: S3Origin,
    faults: FaultServer,
    meter: CountingMeter,
    reply: Reply,
    for_every_key: bool,
) -> None:
    faults.script(reply)
    with pytest.raises(TorrentUnsupported) as caught:
        await origin.get_torrent(PINNED, meter)
    assert caught.value.for_every_key is for_every_key
    told = origin.statistics()
    assert (told.errors["unsupported"], told.last_error) == (1, None)


async def test_a_torrent_that_is_denied_names_its_own_permission(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(error(403, "AccessDenied"))
    with pytest.raises(AccessDenied, match="s3:GetObjectTorrent"):
        await origin.get_torrent(PINNED, meter)


async def test_a_torrent_is_tried_again_like_the_rest(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    short = raw(head(200, [("content-length", "9")]), b"d4:", close=True)
    faults.script(error(503, "SlowDown"), short, answer(200, b"de"))
    assert await origin.get_torrent(PINNED, meter) == b"de"
