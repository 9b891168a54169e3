"""What an S3 server sends: answers over HTTP/1.1, its errors, its XML, its listings."""

import contextlib
import random
import ssl
from typing import cast
from xml.etree import ElementTree

import h11
import trio

from seeder.errors import OriginError, OriginFault
from seeder.s3.answers import Answer, Asked, refusal
from seeder.s3.attributes import parse_attributes, part_of_head
from seeder.s3.heads import check_range
from seeder.s3.http1 import Link, Pool, Server
from seeder.s3.listing import Walk, parse_page, publishable
from seeder.s3.network import Stream
from seeder.s3.xml import read_xml
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange
from tests.fuzz.inputs import Choices, chunks, target

_LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
    b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>t</NextContinuationToken>"
    b"<Contents><Key>a%2Fb+c</Key><ETag>&quot;e&quot;</ETag><Size>5</Size></Contents>"
    b"<Contents><Key>d/</Key><ETag>x</ETag><Size>0</Size></Contents></ListBucketResult>"
)
_ATTRIBUTES = (
    b"<GetObjectAttributesResponse><ETag>e</ETag><ObjectSize>9</ObjectSize><Checksum>"
    b"<ChecksumSHA1>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</ChecksumSHA1></Checksum><ObjectParts>"
    b"<PartsCount>2</PartsCount><IsTruncated>true</IsTruncated><NextPartNumberMarker>1"
    b"</NextPartNumberMarker><Part><PartNumber>1</PartNumber><Size>5</Size></Part>"
    b"</ObjectParts></GetObjectAttributesResponse>"
)
_ERROR = (
    b"<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message><Region>eu-west-1"
    b"</Region><Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint></Error>"
)


@target(
    _LISTING, _ATTRIBUTES, _ERROR, b"<!DOCTYPE a><a/>", b'<?xml version="1.0" encoding="x"?><a/>'
)
def xml(data: bytes) -> None:
    """A document is read only where another reader takes it too, and costs no more than it has."""
    taken = 0

    def take(path: list[str], text: str) -> None:
        nonlocal taken
        assert 1 <= len(path) <= 8
        assert len(text) <= 4096
        taken += 1

    with contextlib.suppress(ValueError):
        read_xml(data, take, longest=4096)
        with contextlib.suppress(ElementTree.ParseError):  # it resolves namespaces, we don't
            assert len(list(ElementTree.fromstring(data).iter())) == taken


@target(_LISTING, _LISTING.replace(b"true", b"false"), _ERROR)
def listing(data: bytes) -> None:
    """A page of a listing: keys that can be written and asked for again, or an OriginFault."""
    try:
        page = parse_page(data)
    except OriginFault as error:
        assert str(error)
        return
    assert page.next_token is None or page.next_token
    for key, listed in page.objects:
        assert key
        key.encode()
        assert listed.size >= 0
        assert listed.etag.isascii()
        assert listed.etag.isprintable()
    walk = Walk("", 100)
    with contextlib.suppress(OriginFault):
        walk.take(page)
        walk.take(page)
    assert walk.seen == set(page.keys)
    assert publishable(page.objects, walk.seen).keys() <= walk.seen


@target(_ATTRIBUTES, _ATTRIBUTES.replace(b"true", b"false"), _ERROR)
def attributes(data: bytes) -> None:
    """GetObjectAttributes."""
    found = parse_attributes(data)
    if found is None:
        return
    for number in (found.size, found.count, found.next_marker):
        assert number is None or number >= 0
    assert found.sha1 is None or len(found.sha1) == 20
    for part in found.parts:
        assert part.size >= 0
        assert part.sha1 is None or len(part.sha1) == 20


_ASKED = Asked("bucket/key", "s3.example.org")
_PINNED = PinnedObject(ObjectRef("default", "bucket", "key"), '"e"', 1000)
_NAMES = ("location", "x-amz-bucket-region", "etag", "content-range", "content-length")


@target(
    b"\x01\x2d\0\x18http://b.s3.example.org/\x02\0" + _ERROR,
    b'\0\xce\2\3"e"\3\x0fbytes 0-9/1000\4\x0210',
    b"\1\x94\5" + _ERROR.replace(b"</Error>", b""),
)
def answers(data: bytes) -> None:
    """Heads and errors: the text for the operator is one line, whatever the server says."""
    choices = Choices(data)
    status = choices.number(2) % 600
    headers: dict[str, str] = {}
    while choices:
        number = choices.number()
        if number >= len(_NAMES):
            break
        headers[_NAMES[number]] = choices.text().decode("latin-1")
    body = choices.rest()
    answer = Answer.read(status, headers, body)
    for asked in (_ASKED, Asked("b/k", "h", torrent=True), Asked("b/k", "h", attributes=True)):
        text = str(refusal(answer, asked))
        assert text.isprintable()
        assert len(text) < 2000
    answer.moved_from("us-east-1")
    try:
        check_range(status, headers, _PINNED, ByteRange(0, 10))
    except OriginError as error:
        assert str(error).isprintable()
    part, count = part_of_head(headers, 3)
    assert part.size >= 0
    assert count >= 0


_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Stream:
    """A connection on which the server has sent what it sends, and closed."""

    def __init__(self, parts: list[bytes]) -> None:
        self.closed = False
        self._parts = [part for part in parts if part]

    async def write(self, data: bytes, seconds: float | None) -> None:
        assert data.endswith(b"\r\n\r\n")

    async def read_into(self, view: memoryview, seconds: float | None) -> int:
        if not self._parts or not view:
            return 0
        part = self._parts.pop(0)
        count = min(len(view), len(part))
        view[:count] = part[:count]
        if part[count:]:
            self._parts.insert(0, part[count:])
        return count

    @property
    def quiet(self) -> bool:
        return not self._parts

    @property
    def unread(self) -> int:
        return sum(map(len, self._parts))

    def close(self) -> None:
        self.closed = True


_OK = b'HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag: "e"\r\n\r\nhello'
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"


@target(
    b"\0" + _OK,
    b"\1" + _CHUNKED,
    b"\0" + b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + _OK,
    b"\3HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"\0HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    b"\2HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n",
    b"\4HTTP/1.0 304 Not Modified\r\nConnection: keep-alive\r\n\r\n",
    b"\0" + _OK + _OK,
)
def http_answers(data: bytes) -> None:
    """An answer's head and body are those that h11 finds; a connection is kept only at its end."""
    choices = Choices(data)
    schedule = choices.number()
    method = "HEAD" if schedule & 2 else "GET"
    stream = choices.rest()
    wanted = _as_h11_reads(method, stream)
    got = trio.run(_exchange, method, chunks(stream, random.Random(schedule)))
    if wanted is None:
        assert got is None or got[1] is None
    elif got is not None and not (got[1] is None and b"chunked" in stream.lower()):
        # Chunks of a few bytes are refused, and h11 takes them.
        assert got == wanted


async def _exchange(method: str, parts: list[bytes]) -> tuple[int, bytes | None] | None:
    """Return status and body as our client reads them; None for what isn't there."""
    stream = _Stream(parts)
    pool = Pool(4, _CONTEXT)
    link = Link(Server("http", "s3.example.org", 80), cast("Stream", stream))
    request = h11.Request(method=method, target="/b/k", headers=[("Host", "s3.example.org")])
    pool._open += 1
    try:
        parser = await link.send(request, None)
        answer = await link.receive_head(parser, None)
    except (h11.RemoteProtocolError, OSError):
        pool.drop(link)
        return None
    body = pool.body_of(link, parser, request, answer)
    got = b""
    view = memoryview(bytearray(7))
    complete = True
    try:
        while count := await body.receive_into(view):
            assert 0 < count <= len(view)
            got += view[:count]
    except (h11.RemoteProtocolError, OSError):
        complete = False
    body.close()
    if not stream.closed:
        assert complete
        pool.close()
    assert stream.closed
    return answer.status_code, got if complete else None


def _as_h11_reads(method: str, stream: bytes) -> tuple[int, bytes] | None:
    parser = h11.Connection(h11.CLIENT, 64 * 1024)
    parser.send(h11.Request(method=method, target="/b/k", headers=[("Host", "s3.example.org")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(stream)
    parser.receive_data(b"")
    status, body = None, b""
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert status is not None
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
