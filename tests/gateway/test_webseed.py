"""The web seed in this process: what it answers, what it counts, and whom it holds back."""

import gc
import logging
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.errors import BudgetSpent, OriginUnreachable
from seeder.gateway import download as download_module
from seeder.gateway import lines
from seeder.gateway.access import ReadKey
from seeder.gateway.downloads import Downloads
from seeder.gateway.webseed import content_type
from seeder.http.messages import Request
from seeder.http.service import ServerLimits
from seeder.ledger.counters import Tally
from seeder.ledger.limits import Level
from seeder.net.buckets import AddressLimiter
from seeder.peer.messages import MessageId
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import Description, ObjectRef, PinnedObject
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.units import KIB, MIB
from seeder.upload.feed import MOST_BYTES_OF_PEER
from tests.gateway.seeding import PATH, Seed, seeding
from tests.gateway.signing import KEY_ID, SECRET, signed
from tests.gateway.support import make_routes, objects_of
from tests.http.serving import PATIENCE, Client, Reply, connected, get
from tests.peer.node import Limits, Steady, make_data, wait_until
from tests.support.disks import rot

PIECE = 64 * KIB
DATA = make_data(10 * PIECE + 123)
BEFORE = make_data(2 * PIECE, seed=3)
LARGE = make_data(12 * MIB, seed=2)
"""More than all buffers between a server and a client that doesn't read."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does is worth a warning, and no exception is any client's."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def code(reply: Reply) -> str | None:
    """Return the code of an error as S3 words it."""
    assert reply.headers[b"content-type"] == b"application/xml"
    return ElementTree.fromstring(reply.body).findtext("Code")


# -- what is answered -----------------------------------------------------------------------------


async def test_the_object_is_served_with_all_that_there_is_to_say_of_it(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        reply = await seed.ask(PATH)
        assert (reply.status, reply.body) == (200, DATA)
        headers = dict(reply.headers)
        assert len(headers.pop(b"x-amz-request-id")) == 16
        assert headers.pop(b"date")
        assert b"Content-Range" in headers.pop(b"access-control-expose-headers")
        assert headers == {
            b"content-length": b"%d" % len(DATA),
            b"etag": b'"e"',
            b"accept-ranges": b"bytes",
            b"cache-control": b"no-cache",
            b"content-type": b"application/octet-stream",
            b"content-disposition": b"attachment; filename=object-0",
            b"x-content-type-options": b"nosniff",
            b"access-control-allow-origin": b"*",
            b"cross-origin-resource-policy": b"cross-origin",
            b"timing-allow-origin": b"*",
            b"connection": b"close",
        }
        head = await seed.ask(PATH, method="HEAD")
        assert head.status == 200
        assert {name for name in headers if head.headers[name] != headers[name]} == set()
        assert seed.counted == (len(DATA), len(DATA))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a/b.pdf", "application/pdf"),
        ("a.html", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar.xz", "application/x-xz"),
        ("a.svgz", "application/gzip"),
        ("a.Z", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_by_the_name(key: str, expected: str) -> None:
    assert content_type(key) == expected


async def test_several_requests_share_a_connection(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed, connected(seed.port) as client:
        ranges = [(0, 9), (PIECE - 1, PIECE), (5, 7 * PIECE + 5), (len(DATA) - 1, len(DATA) - 1)]
        await client.send(
            b"".join(get(PATH, f"Range: bytes={first}-{last}") for first, last in ranges)
            + get(PATH, method="HEAD")
        )
        for first, last in ranges:
            reply = await client.reply()
            assert (reply.status, reply.body) == (206, DATA[first : last + 1])
            where = b"bytes %d-%d/%d" % (first, last, len(DATA))
            assert reply.headers[b"content-range"] == where
        head = await client.reply(to_head=True)
        assert head.headers[b"content-length"] == b"%d" % len(DATA)
        assert seed.node.source.reads == dict.fromkeys([*range(8), 10], 1)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_any_range_arrives_as_it_lies_in_the_object(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.randrange(1, 40_000))
    length = 2 ** rng.randrange(6, 15)
    places = [rng.choice([rng.randrange(len(data)), 0, len(data) - 1, length]) for _ in range(8)]

    async def compare() -> None:
        async with seeding(tmp_path / str(seed), (data, length)) as web, connected(web.port) as one:
            for first, last in zip(places[::2], places[1::2], strict=True):
                for text, expected in (
                    (f"{first}-{last}", data[first : last + 1]),
                    (f"{first}-", data[first:]),
                    (f"-{last}", data[-last:] if last else b""),
                ):
                    await one.send(get(PATH, f"Range: bytes={text}"))
                    reply = await one.reply()
                    if reply.status == 206:
                        assert reply.body == expected
                    elif reply.status == 416:
                        assert expected == b""
                    else:
                        assert (reply.status, last < first, reply.body) == (200, True, data)

    trio.run(compare)


async def test_a_download_is_resumed_only_if_the_object_is_the_same(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        middle = "Range: bytes=300000-"
        same = await seed.ask(PATH, middle, 'If-Range: "e"')
        assert (same.status, same.body) == (206, DATA[300_000:])
        other = await seed.ask(PATH, middle, 'If-Range: "f"')
        assert (other.status, other.body) == (200, DATA)
        assert b"content-range" not in other.headers


async def test_several_ranges_are_answered_by_the_whole(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        reply = await seed.ask(PATH, "Range: bytes=0-1,5-6")
        assert (reply.status, reply.body) == (200, DATA)


async def test_conditions_are_answered_without_the_object(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        fresh = await seed.ask(PATH, 'If-None-Match: "e"')
        assert (fresh.status, fresh.body, fresh.headers[b"etag"]) == (304, b"", b'"e"')
        changed = await seed.ask(PATH, 'If-Match: "f"')
        assert (changed.status, code(changed)) == (412, "PreconditionFailed")
        outside = await seed.ask(PATH, f"Range: bytes={len(DATA)}-")
        assert (outside.status, code(outside)) == (416, "InvalidRange")
        assert outside.headers[b"content-range"] == b"bytes */%d" % len(DATA)
        assert seed.counted == (0, 0)
        assert seed.node.source.reads == {}


async def test_behind_a_file_of_one_byte_the_connection_is_closed(tmp_path: Path) -> None:
    async with seeding(tmp_path, (b"x", PIECE)) as seed, connected(seed.port) as client:
        await client.send(get(PATH) + get(PATH))
        reply = await client.reply()
        assert (reply.body, reply.headers[b"connection"]) == (b"x", b"close")
        assert await client.rest() == b""


async def test_an_empty_object_is_an_empty_body(tmp_path: Path) -> None:
    async with seeding(tmp_path, (b"", PIECE)) as seed:
        whole = await seed.ask(PATH)
        assert (whole.status, whole.body, whole.headers[b"content-length"]) == (200, b"", b"0")
        part = await seed.ask(PATH, "Range: bytes=0-")
        assert (part.status, code(part)) == (416, "InvalidRange")


@pytest.mark.parametrize(
    ("target", "method", "status", "expected"),
    [
        ("/b/other", "GET", 404, "NoSuchKey"),
        ("/other/object-0", "GET", 404, "NoSuchBucket"),
        (PATH, "DELETE", 405, "MethodNotAllowed"),
        # s3cmd looks for the ACL of each object, and takes this for an answer.
        (f"{PATH}?acl", "GET", 501, "NotImplemented"),
        (f"{PATH}?tagging", "HEAD", 501, None),
        (f"{PATH}?attributes", "GET", 501, "NotImplemented"),
        (f"{PATH}?versionId=3", "GET", 404, "NoSuchVersion"),
        (f"{PATH}?versionId=", "GET", 400, "InvalidArgument"),
        (f"{PATH}?partNumber=2", "GET", 416, "InvalidPartNumber"),
        (f"{PATH}?partNumber=0", "GET", 400, "InvalidArgument"),
        (f"{PATH}?partNumber=10001", "GET", 400, "InvalidArgument"),
        (f"{PATH}?partNumber=1x", "GET", 400, "InvalidArgument"),
        (f"{PATH}?partNumber=", "GET", 400, "InvalidArgument"),
    ],
)
async def test_errors_are_those_of_s3(
    tmp_path: Path, target: str, method: str, status: int, expected: str | None
) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        reply = await seed.ask(target, method=method)
        assert reply.status == status
        assert expected is None or code(reply) == expected


async def test_an_object_is_its_first_part_and_one_without_versions_is_called_null(
    tmp_path: Path,
) -> None:
    async with seeding(tmp_path, (DATA, PIECE), (b"", PIECE)) as seed:
        part = await seed.ask(f"{PATH}?partNumber=1&versionId=null")
        assert (part.status, part.body) == (206, DATA)
        where = b"bytes 0-%d/%d" % (len(DATA) - 1, len(DATA))
        assert part.headers[b"content-range"] == where
        head = await seed.ask(f"{PATH}?partNumber=1", method="HEAD")
        assert (head.status, head.headers[b"content-range"]) == (206, where)
        assert head.headers[b"content-length"] == b"%d" % len(DATA)
        assert (await seed.ask(f"{PATH}?versionId=null")).body == DATA
        both = await seed.ask(f"{PATH}?partNumber=1", "Range: bytes=0-1")
        assert (both.status, code(both)) == (400, "InvalidRequest")
        same = await seed.ask(f"{PATH}?partNumber=1", 'If-None-Match: "e"')
        assert same.status == 304
        other = await seed.ask(f"{PATH}?partNumber=1", 'If-Match: "f"')
        assert code(other) == "PreconditionFailed"
        empty = await seed.ask("/b/object-1?partNumber=1")
        assert (empty.status, empty.body) == (200, b"")


async def test_a_version_is_had_by_its_id(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE), (BEFORE, PIECE)) as seed:
        now, before = seed.catalog.publications.values()
        for publication, version in ((now, "v2"), (before, "v1")):
            assert publication.torrent is not None
            publication.torrent.pinned = replace(publication.torrent.pinned, version_id=version)
            publication.pinned = publication.torrent.pinned
        # The older one has an entry that names its version.
        seed.catalog.remove(before.ref)
        assert before.torrent is not None
        old = Publication(replace(now.ref, version_id="v1"))
        seed.catalog.add(old)
        seed.catalog.serve(old, before.torrent)
        for query, body in (("", DATA), ("?versionId=v2", DATA), ("?versionId=v1", BEFORE)):
            assert (await seed.ask(PATH + query)).body == body
        for version in ("null", "v3"):
            missing = await seed.ask(f"{PATH}?versionId={version}")
            assert (missing.status, code(missing)) == (404, "NoSuchVersion")
        old.public = False
        hidden = await seed.ask(f"{PATH}?versionId=v1")
        assert (hidden.status, code(hidden)) == (403, "AccessDenied")


def test_who_leaves_before_his_request_is_begun_leaves_nothing() -> None:
    """A reply that was made and never begun would be a warning, which fails the test."""
    routes = make_routes(
        Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1)),
        objects_of(Catalog()),
        ranges=AddressLimiter(0.1, 1.0),
        downloads=cast(Downloads, object()),
        clock=float,
    )
    address = ("192.0.2.1", 1)
    for _ in range(2):  # the second has to wait
        reply = routes(Request(b"GET", b"/b/object-0", b"", [], address, address))
        assert isinstance(reply, Coroutine)
        reply.close()
    del reply
    gc.collect()


async def test_other_queries_change_nothing(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        for query in ("x-id=GetObject", "X-Amz-Expires=60", "nocache=1"):
            assert (await seed.ask(f"{PATH}?{query}")).body == DATA
        assert (await seed.ask(f"{PATH}?torrent")).body.startswith(b"d8:announce")


async def test_an_object_that_is_not_public_is_for_those_who_sign(tmp_path: Path) -> None:
    keys = [ReadKey(KEY_ID, SECRET, ("b/*",)), ReadKey("OTHER", SECRET, ("c/*",))]
    async with seeding(tmp_path, (DATA, PIECE), public=False, keys=keys) as seed:
        for headers in ([], ["Range: bytes=0-1"], ['If-None-Match: "e"']):
            reply = await seed.ask(PATH, *headers)
            assert (reply.status, code(reply)) == (403, "AccessDenied")
            assert b"etag" not in reply.headers
        url = f"http://tracker.test{PATH}"
        for key_id, status in ((KEY_ID, 200), ("OTHER", 403)):
            presigned = signed(url, expires=60, now=time.time(), key_id=key_id)
            reply = await seed.ask(f"{PATH}?{presigned.query.decode()}")
            assert reply.status == status
            assert (reply.body == DATA) == (status == 200)
        assert b"url-list" not in (await seed.ask(f"{PATH}?torrent")).body


async def test_who_signs_says_how_the_object_is_described(tmp_path: Path) -> None:
    """As a presigned URL of boto3 does, with ResponseContentDisposition and its like."""
    keys = [ReadKey(KEY_ID, SECRET, ("b/*",))]
    wish = {
        "response-content-type": "text/html",
        "response-content-disposition": 'inline; filename="a b.html"',
        "response-content-language": "en",
        "response-cache-control": "max-age=99",
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in wish.items())
    url = f"http://tracker.test{PATH}?{query}"
    async with seeding(tmp_path, (DATA, PIECE), public=False, keys=keys) as seed:
        presigned = signed(url, expires=60, now=time.time()).query.decode()
        reply = await seed.ask(f"{PATH}?{presigned}")
        assert (reply.status, reply.body) == (200, DATA)
        assert reply.headers[b"content-type"] == b"text/html"
        assert reply.headers[b"content-disposition"] == b'inline; filename="a b.html"'
        assert reply.headers[b"content-language"] == b"en"
        # A page among the objects mustn't act as one of ours, and no proxy may keep it.
        assert reply.headers[b"content-security-policy"] == b"sandbox"
        assert reply.headers[b"cache-control"] == b"private, no-cache"
        for value in ("a%0d%0aX:%20y", "%C3%A9"):
            one = f"http://tracker.test{PATH}?response-content-type={value}"
            refused = signed(one, expires=60, now=time.time()).query.decode()
            reply = await seed.ask(f"{PATH}?{refused}")
            assert (reply.status, code(reply)) == (400, "InvalidArgument")
    async with seeding(tmp_path / "public", (DATA, PIECE)) as seed:
        reply = await seed.ask(f"{PATH}?{query}")
        assert reply.headers[b"content-type"] != b"text/html"
        assert reply.headers[b"content-disposition"].startswith(b"attachment")


async def test_an_object_comes_as_s3_describes_it(tmp_path: Path) -> None:
    told = (
        ("content-encoding", "gzip"),
        ("content-language", "en"),
        ("content-type", "text/html"),
        ("x-amz-meta-by", "Nelson"),
    )
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        [publication] = seed.catalog
        publication.pinned = replace(seed.torrent.pinned, description=Description(784111777, told))
        reply = await seed.ask(PATH)
        assert reply.headers[b"last-modified"] == b"Sun, 06 Nov 1994 08:49:37 GMT"
        for name, value in told:
            assert reply.headers[name.encode()] == value.encode()
        assert reply.headers[b"content-disposition"].startswith(b"attachment")
        assert b"content-security-policy" not in reply.headers

        # BitTorrent clients ask for parts, and a part can't be decoded.
        part = await seed.ask(PATH, "Range: bytes=0-1")
        assert part.status == 206
        assert b"content-encoding" not in part.headers
        assert part.headers[b"content-type"] == b"text/html"

        date = reply.headers[b"last-modified"].decode()
        assert (await seed.ask(PATH, f"If-Modified-Since: {date}")).status == 304
        refused = await seed.ask(PATH, "If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT")
        assert (refused.status, code(refused)) == (412, "PreconditionFailed")

        # What the publisher wants shown is shown, but can't act as a page of ours.
        shown = Description(1, (("content-disposition", "inline"), ("content-type", "text/html")))
        publication.pinned = replace(seed.torrent.pinned, description=shown)
        reply = await seed.ask(PATH)
        assert reply.headers[b"content-disposition"] == b"inline"
        assert reply.headers[b"content-security-policy"] == b"sandbox"


async def test_a_bucket_may_have_a_name_of_the_trackers(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        for name in ("announce", "scrape"):
            ref = ObjectRef("default", name, "object-0")
            pinned = PinnedObject(ref, '"own"', len(DATA))
            publication = Publication(ref)
            seed.catalog.add(publication)
            seed.catalog.serve(publication, Torrent(seed.torrent.info, pinned, "build"))
            found = await seed.ask(f"/{name}/object-0")
            assert (found.body, found.headers[b"etag"]) == (DATA, b'"own"')
            for page in (f"/{name}/PASSKEY", f"/{name}/object-0?info_hash={'x' * 20}", f"/{name}"):
                assert (await seed.ask(page)).headers[b"content-type"] == b"text/plain"


# -- where the bytes come from, and what they cost ------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "disk", "piece_length"),
    [
        (64 * MIB, 0, 16 * KIB),
        (64 * MIB, 0, 8 * MIB),
        (0, 64 * MIB, 64 * KIB),
        (0, 64 * MIB, 8 * MIB),
        (MIB, 64 * MIB, 256 * KIB),
    ],
)
async def test_cold_pieces_are_read_once_and_then_come_from_the_cache(
    tmp_path: Path, memory: int, disk: int, piece_length: int
) -> None:
    async with seeding(tmp_path, (LARGE, piece_length), memory=memory, disk=disk) as seed:
        for count in (1, 2):
            assert (await seed.ask(PATH)).body == LARGE
            assert set(seed.node.source.reads.values()) == {1}
            assert seed.counted == (count * len(LARGE), count * len(LARGE))
        assert seed.node.uploads.held.used == 0


async def test_who_asks_again_for_a_range_gets_it_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with seeding(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as seed:
        assert (await seed.ask(PATH)).body == DATA
        await wait_until(lambda: seed.node.cache.statistics().disk_pieces == 11)
        file = tmp_path / seed.torrent.cache_id / "0" / "3"
        rot(file)
        part = DATA[3 * PIECE : 5 * PIECE]
        wanted = f"Range: bytes={3 * PIECE}-{5 * PIECE - 1}"
        assert (await seed.ask(PATH, wanted)).body == part
        assert seed.node.source.reads[3] == 2
        assert seed.node.cache.statistics().corrupt == 1
    assert f"{file} is corrupt" in caplog.text
    caplog.clear()


async def test_without_any_cache_each_download_reads_for_itself_and_holds_little(
    tmp_path: Path,
) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB), memory=0) as seed, connected(seed.port) as one:
        await one.send(get(PATH))
        held = seed.node.uploads.held
        await wait_until(lambda: seed.counted[0] > 0 and not seed.node.cache.statistics().fetching)
        assert 0 < held.used <= MOST_BYTES_OF_PEER
        assert (await one.reply()).body == LARGE
        assert set(seed.node.source.reads.values()) == {1}
    assert held.used == 0


async def test_what_comes_next_is_asked_for_ahead(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, 512 * KIB)) as seed, connected(seed.port) as client:
        source = seed.node.source
        source.hold_up(*range(24))
        await client.send(get(PATH))
        await wait_until(lambda: sum(source.reads.values()) == MOST_BYTES_OF_PEER // (512 * KIB))
        source.release()
        assert (await client.reply()).body == LARGE
        assert set(source.reads.values()) == {1}


async def test_a_range_costs_no_more_than_its_pieces(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB)) as seed:
        part = await seed.ask(PATH, f"Range: bytes={MIB + 1}-{2 * MIB}")
        assert part.body == LARGE[MIB + 1 : 2 * MIB + 1]
        assert seed.node.source.reads == dict.fromkeys(range(4, 9), 1)


async def test_an_object_that_is_replaced_before_its_first_byte_is_an_error(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed, connected(seed.port) as client:
        seed.node.source.hold_up(0)
        await client.send(get(PATH))
        await wait_until(lambda: bool(seed.node.source.reads))
        seed.retire()
        reply = await client.reply()
        assert (reply.status, code(reply)) == (503, "ServiceUnavailable")


async def test_a_client_that_leaves_is_counted_what_was_sent_it(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB)) as seed:
        async with connected(seed.port) as client:
            await client.send(get(PATH))
            await wait_until(lambda: seed.counted[0] > 0)
        await wait_until(lambda: len(seed.downloads) == 0)
        uploaded, delivered = seed.counted
        assert 0 < uploaded == delivered < len(LARGE)
        assert seed.node.uploads.held.used == 0


async def test_what_a_former_account_has_and_what_the_new_one_gets_add_up(tmp_path: Path) -> None:
    """An object that changed its ETag alone has another account: its downloads go on."""
    async with seeding(tmp_path, (LARGE, MIB)) as seed, connected(seed.port) as client:
        await client.send(get(PATH, "Connection: close"))
        await settle(seed)
        former = seed.node.tally.counters
        counted = former.copy()
        new = seed.node.tallies[seed.torrent.info_hash] = Tally()
        seed.downloads.rebook(seed.torrent)
        assert (await client.rest()).endswith(b"\r\n\r\n" + LARGE)
        await wait_until(lambda: len(seed.downloads) == 0)
        assert former == counted
        assert 0 < former.uploaded_bytes < len(LARGE)
        assert former.uploaded_bytes + new.counters.uploaded_bytes == len(LARGE)
        verified = former.delivered_verified_bytes + new.counters.delivered_verified_bytes
        assert verified == len(LARGE)


async def test_what_a_peer_announces_of_it_is_not_counted_again(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        await seed.ask(PATH, f"Range: bytes=0-{3 * PIECE // 2 - 1}")
        other = seed.node.peer(host="127.0.0.2", peer_id=b"-XX0000-another-peer")
        async with seed.node.peer() as peer, other as source:
            await source.send(b"\0\0\0\5", bytes([MessageId.HAVE]), (4).to_bytes(4))
            await seed.ask(PATH, f"Range: bytes={3 * PIECE // 2}-{4 * PIECE - 1}")
            for index in range(5):
                await peer.send(b"\0\0\0\5", bytes([MessageId.HAVE]), index.to_bytes(4))
            # The first four came over HTTP; the other one can have given it the fifth.
            await wait_until(lambda: seed.counted[1] == 5 * PIECE)
            assert seed.counted[0] == 4 * PIECE
            await seed.ask(PATH, f"Range: bytes={4 * PIECE}-{5 * PIECE - 1}")
            assert seed.counted == (5 * PIECE, 5 * PIECE)
        await seed.node.wait_connected(0)
        await seed.ask(PATH, f"Range: bytes=0-{PIECE - 1}")
        assert seed.counted == (6 * PIECE, 6 * PIECE)


# -- limits ---------------------------------------------------------------------------------------


@asynccontextmanager
async def stalled(seed: Seed) -> AsyncIterator[Client]:
    """Begin a download that nobody reads on."""
    async with connected(seed.port) as client:
        await client.send(get(PATH))
        await settle(seed)
        yield client


async def settle(seed: Seed) -> None:
    """Wait until a download has filled all the buffers."""
    before = -1
    while before != seed.counted[0] or before <= 0:
        before = seed.counted[0]
        await trio.sleep(0.05)


async def cut_off(client: Client, of: bytes = LARGE) -> None:
    """Read what is left of a reply that doesn't come to its end, yet holds no wrong byte."""
    raw = await client.rest()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(of) in head
    assert 0 < len(body) < len(of)
    assert of.startswith(body)


async def test_who_reads_nothing_is_let_go(tmp_path: Path) -> None:
    limits = ServerLimits(send_timeout=0.2)
    async with (
        seeding(tmp_path, (LARGE, 256 * KIB), server=limits) as seed,
        connected(seed.port) as client,
    ):
        await client.send(get(PATH))
        await wait_until(lambda: len(seed.downloads) == 1)
        await wait_until(lambda: len(seed.downloads) == 0)
        await cut_off(client)


async def test_an_object_that_is_replaced_cuts_its_downloads_off(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB)) as seed, stalled(seed) as client:
        seed.retire()
        await cut_off(client)
        assert seed.counted[0] < len(LARGE)


async def test_upload_limits_hold_for_downloads(tmp_path: Path) -> None:
    for limits in (
        Limits(upload_rate=PIECE),
        Limits(upload_rate_per_torrent=PIECE),
        Limits(upload_rate_per_peer=PIECE),
    ):
        async with (
            seeding(tmp_path / str(id(limits)), (LARGE, 256 * KIB), limits=limits) as seed,
            connected(seed.port) as one,
            connected(seed.port) as other,
        ):
            for client in (one, other):
                await client.send(get(PATH))
            await wait_until(lambda: len(seed.node.uploads.rates.waiting._guests) == 2)
            # A grain and an eighth of a second's worth is there at once.
            assert seed.counted[0] <= 2 * 16 * KIB + PIECE
            seed.node.uploads.change(Limits())
            for client in (one, other):
                assert (await client.reply()).body == LARGE


async def test_an_address_has_one_rate_for_all_its_requests(tmp_path: Path) -> None:
    limits = Limits(upload_rate_per_peer=PIECE)
    async with seeding(tmp_path, (DATA, PIECE), limits=limits) as seed:
        await seed.node.warm()
        begun = trio.current_time()
        for _ in range(6):
            assert (await seed.ask(PATH, "Range: bytes=0-16383")).status == 206
        # Six grains: a bucket of its own would have let each of them pass.
        assert trio.current_time() - begun > 0.5


@pytest.mark.parametrize("begun", [False, True])
async def test_a_spent_upload_budget_sends_nothing_any_more(tmp_path: Path, begun: bool) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB)) as seed:
        if begun:
            async with stalled(seed) as client:
                seed.hold_back(Level.TRACKER_ONLY)
                await cut_off(client)
        seed.hold_back(Level.TRACKER_ONLY)
        before = seed.counted
        reply = await seed.ask(PATH)
        assert (reply.status, code(reply)) == (503, "SlowDown")
        assert int(reply.headers[b"retry-after"]) > 0
        assert seed.counted == before
        seed.hold_back(Level.NORMAL)
        assert (await seed.ask(PATH)).body == LARGE


async def test_a_spent_origin_budget_leaves_what_is_cached(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        await seed.node.warm(0, 1)
        seed.node.source.errors = {index: BudgetSpent("spent") for index in range(2, 11)}
        cached = await seed.ask(PATH, f"Range: bytes=0-{2 * PIECE - 1}")
        assert (cached.status, cached.body) == (206, DATA[: 2 * PIECE])
        reply = await seed.ask(PATH, f"Range: bytes={2 * PIECE}-")
        assert (reply.status, code(reply)) == (503, "SlowDown")
        async with connected(seed.port) as client:
            await client.send(get(PATH))
            raw = await client.rest()
        assert raw.partition(b"\r\n\r\n")[2] == DATA[: 2 * PIECE]


async def test_a_client_is_told_to_come_back_when_s3_is_asked_again(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        seed.node.source.errors[0] = OriginUnreachable("no answer")
        seed.node.uploads._origins = Steady(next_try=1.4)
        reply = await seed.ask(PATH)
        assert (reply.status, reply.headers[b"retry-after"]) == (503, b"2")
        seed.node.uploads._origins = Steady(next_try=1e6)
        reply = await seed.ask(PATH, f"Range: bytes=0-{PIECE - 1}")
        assert (reply.status, reply.headers[b"retry-after"]) == (503, b"60")


async def test_a_reply_that_has_not_begun_is_held_for_a_while_when_s3_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "FIRST_PATIENCE", 0.05)
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        seed.node.source.hold_up(0)
        seed.node.uploads._origins = Steady(away=True, next_try=0.3)
        reply = await seed.ask(PATH)
        assert (reply.status, code(reply)) == (503, "ServiceUnavailable")
        assert reply.headers[b"retry-after"] == b"1"
        assert b"doesn't answer at present" in reply.body
        seed.node.source.release()


async def test_an_origin_that_fails_is_an_error_that_passes(tmp_path: Path) -> None:
    async with seeding(tmp_path, (DATA, PIECE)) as seed:
        seed.node.source.errors[0] = OriginUnreachable("no answer from the secret host")
        reply = await seed.ask(PATH)
        assert (reply.status, code(reply)) == (503, "ServiceUnavailable")
        assert b"secret" not in reply.body
        seed.node.source.errors.clear()
        assert (await seed.ask(PATH)).body == DATA


async def test_an_address_that_had_enough_is_refused(tmp_path: Path) -> None:
    data = make_data(4 * MIB)
    limits = Limits(copies_per_address=1 / 17)
    async with seeding(tmp_path, (data, 256 * KIB), limits=limits) as seed:
        # No object counts as smaller than 64 MiB: a seventeenth is less than this one.
        assert (await seed.ask(PATH)).body == data
        reply = await seed.ask(PATH)
        assert (reply.status, code(reply)) == (503, "SlowDown")


async def test_s3_is_read_for_an_address_as_often_as_it_may_be(tmp_path: Path) -> None:
    limits = Limits(origin_copies_per_address=0.9 / 64)
    async with seeding(tmp_path, (LARGE, 256 * KIB), limits=limits) as seed:
        await seed.node.warm(*range(8, 16))
        # No object counts as smaller than 64 MiB: this is what S3 may be read for.
        first = await seed.ask(PATH, f"Range: bytes=0-{MIB - 1}")
        assert first.body == LARGE[:MIB]
        reply = await seed.ask(PATH, f"Range: bytes={8 * MIB}-")
        assert (reply.status, code(reply)) == (503, "SlowDown")
        cached = await seed.ask(PATH, f"Range: bytes={2 * MIB}-{4 * MIB - 1}")
        assert cached.body == LARGE[2 * MIB : 4 * MIB]
        assert sum(seed.node.source.reads.values()) == 8 + 4


async def ask_part(seed: Seed, *clients: Client) -> None:
    """Ask for a range each, one after another, and wait until all of them wait for a place."""
    waiting = seed.downloads._lines._lines
    for number, client in enumerate(clients, 1):
        await client.send(get(PATH, f"Range: bytes=0-{PIECE - 1}", "Connection: close"))
        await wait_until(lambda number=number: sum(map(len, waiting.values())) == number)  # type: ignore[misc]


async def part_came(client: Client) -> None:
    assert (await client.rest()).endswith(b"\r\n\r\n" + LARGE[:PIECE])


async def test_who_has_all_places_of_its_address_waits_for_one(tmp_path: Path) -> None:
    """Three Transmissions behind one address ask for more ranges at a time than it may have."""
    limits = Limits(connections_per_address=2)
    async with (
        seeding(tmp_path, (LARGE, MIB), limits=limits) as seed,
        seed.node.peer(),
        AsyncExitStack() as stack,
    ):
        client = await stack.enter_async_context(stalled(seed))
        waiting = [await stack.enter_async_context(connected(seed.port)) for _ in range(5)]
        await ask_part(seed, *waiting)
        assert (len(seed.downloads), len(seed.node.sessions())) == (1, 1)
        # Each gives it on to the next.
        await client.close()
        for other in waiting:
            await part_came(other)


async def test_the_place_of_a_peer_that_leaves_is_taken(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=1)
    async with seeding(tmp_path, (LARGE, MIB), limits=limits) as seed, connected(seed.port) as one:
        async with seed.node.peer():
            await ask_part(seed, one)
        await part_came(one)


async def test_who_waits_for_a_place_hears_that_the_object_is_gone(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=1)
    async with (
        seeding(tmp_path, (LARGE, MIB), limits=limits) as seed,
        stalled(seed) as first,
        connected(seed.port) as waiting,
    ):
        await ask_part(seed, waiting)
        seed.retire()
        head, _, body = (await waiting.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"The object has changed" in body
        await cut_off(first)


async def test_a_tool_may_ask_for_256_objects_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As s5cmd does where nobody tells it otherwise."""
    monkeypatch.setattr(lines, "PLACE_PATIENCE", 100.0)
    limits = Limits(connections_per_address=20)
    statuses = []

    async def ask(seed: Seed) -> None:
        statuses.append((await seed.ask(PATH)).status)

    async with (
        seeding(tmp_path, (DATA, PIECE), limits=limits) as seed,
        trio.open_nursery() as nursery,
    ):
        for _ in range(256):
            nursery.start_soon(ask, seed)
    assert statuses == [200] * 256


async def test_no_more_than_some_wait_for_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_IN_LINE", 1)
    limits = Limits(connections_per_address=1)
    async with (
        seeding(tmp_path, (LARGE, MIB), limits=limits) as seed,
        stalled(seed) as first,
        connected(seed.port) as waiting,
    ):
        await ask_part(seed, waiting)
        refused = await seed.ask(PATH)
        assert (refused.status, code(refused)) == (503, "SlowDown")
        await first.close()
        await part_came(waiting)


async def test_connections_are_counted_together_with_those_of_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PLACE_PATIENCE", 0.1)
    for limits, other in (
        (Limits(connections_per_address=2), "your address"),
        (Limits(connections_per_torrent=2), "too many downloads"),
        (Limits(connections=2), "too many downloads"),
    ):
        async with (
            seeding(
                tmp_path / other / str(limits.connections), (LARGE, MIB), limits=limits
            ) as seed,
            seed.node.peer(),
        ):
            async with stalled(seed):
                reply = await seed.ask(PATH)
                assert (reply.status, code(reply)) == (503, "SlowDown")
                assert other.encode() in reply.body
            await wait_until(lambda: len(seed.downloads) == 0)
            assert (await seed.ask(PATH)).body == LARGE


async def test_where_there_are_turns_a_download_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        seeding(tmp_path, (LARGE, 256 * KIB), limits=Limits(upload_slots=1)) as seed,
        stalled(seed) as busy,
        connected(seed.port) as waiting,
    ):
        await waiting.send(get(PATH))
        await wait_until(lambda: len(seed.downloads) == 2)
        monkeypatch.setattr(download_module, "FIRST_PATIENCE", 0.05)
        refused = await seed.ask(PATH)
        assert (refused.status, code(refused)) == (503, "SlowDown")
        await busy.close()
        assert (await waiting.reply()).body == LARGE


async def test_a_download_that_lost_its_turn_goes_on_or_is_cut_off(tmp_path: Path) -> None:
    async with seeding(tmp_path, (LARGE, 256 * KIB)) as seed, stalled(seed) as client:
        [download] = seed.downloads._all
        download.hold()
        with trio.move_on_after(0.1):
            await client.rest()
        sent = seed.counted[0]
        assert sent < len(LARGE)
        download.serve()
        await wait_until(lambda: seed.counted[0] > sent)
        download.hold()
        download.tick(trio.current_time() + download_module.TURN_PATIENCE + 1)
        with trio.fail_after(PATIENCE):
            await client.rest()
        assert seed.counted[0] < len(LARGE)


async def test_a_stop_cuts_downloads_off_after_its_grace(tmp_path: Path) -> None:
    limits = ServerLimits(grace=0.05)
    async with AsyncExitStack() as later:
        async with seeding(tmp_path, (LARGE, 256 * KIB), server=limits) as seed:
            client = await later.enter_async_context(stalled(seed))
        await cut_off(client)


# -- how often ------------------------------------------------------------------------------------


async def test_small_ranges_wait_for_their_turn_and_take_nobody_elses(tmp_path: Path) -> None:
    """Transmission gives a web seed up that refuses a few times in a row."""
    limiter, ranges = AddressLimiter(rate=1e-9, burst=2), AddressLimiter(rate=50, burst=2)
    async with seeding(tmp_path, (DATA, PIECE), limiter=limiter, ranges=ranges) as seed:
        for start in range(0, len(DATA), PIECE):
            last = min(start + PIECE, len(DATA)) - 1
            reply = await seed.ask(PATH, f"Range: bytes={start}-{last}")
            assert (reply.status, reply.body) == (206, DATA[start : last + 1])
        for _ in range(2):
            assert (await seed.ask(f"{PATH}?torrent")).status == 200
        refused = await seed.ask(f"{PATH}?torrent")
        assert (refused.status, code(refused)) == (503, "SlowDown")
        assert (await seed.ask(PATH)).body == DATA


async def test_far_too_many_ranges_are_refused_and_told_when_to_come(tmp_path: Path) -> None:
    ranges = AddressLimiter(rate=1e-9, burst=1)
    async with seeding(tmp_path, (DATA, PIECE), ranges=ranges) as seed:
        assert (await seed.ask(PATH)).status == 200
        refused = await seed.ask(PATH)
        assert (refused.status, code(refused)) == (503, "SlowDown")
        assert refused.headers[b"retry-after"] == b"20"
        # It is read: the tracker's bucket is another one.
        assert b"info_hash" in (await seed.ask("/announce")).body
        assert (await seed.ask(f"{PATH}?torrent")).status == 200
