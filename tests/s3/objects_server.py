"""Objects for the fault server to serve as S3 would, with counts and a few vices."""

import base64
import gzip
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import trio

from seeder.units import KIB
from tests.s3.dialects import NOT_IMPLEMENTED, Dialect, Refusal, encode_key
from tests.s3.fault_server import Seen, head
from tests.support.objects import make_torrent


@dataclass
class ObjectsServer:
    """A bucket; assign `serve` to FaultServer.default."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """By key; a version other than the newest by "key?version"."""
    torrents: dict[str, bytes] = field(default_factory=dict)
    """What ?torrent answers, by key; others get 501."""
    attributes: dict[str, bytes] = field(default_factory=dict)
    """What GetObjectAttributes answers, by key; others get what the dialect has."""
    corrupt: set[tuple[str, int]] = field(default_factory=set)
    """(key, offset): ranges that hold this byte come with it flipped."""
    corrupt_ranges: set[tuple[int, int]] = field(default_factory=set)
    """(first, last): a range of exactly these bytes comes with its first one flipped."""
    flips: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(key, offset): how often yet that byte comes with a bit flipped, another one each time."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer about an object."""
    refuse: set[str] = field(default_factory=set)
    """Keys that answer 403."""
    etags: dict[str, str] = field(default_factory=dict)
    """ETags by key that stay whatever the object; others have their body's MD5."""
    page: int = 1000
    """Keys in a page of a listing."""
    broken_pages: set[int] = field(default_factory=set)
    """Pages of a listing, from 0, that answer 403."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that listings and HEADs tell instead of the true ones, by key."""
    listed_sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that listings alone tell."""
    head_sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that HEADs alone tell."""
    part: int = 64 * KIB
    """Bytes of the parts that objects were uploaded in, and of the pieces of ?torrent."""
    unlisted: set[str] = field(default_factory=set)
    """Keys that listings lack though the objects are there."""
    down: Refusal | None = None
    """What everything about objects is answered with, if it is set."""
    entries: dict[str, str] = field(default_factory=dict)
    """What a listing has as the XML of an entry, by key; others have all that S3 tells."""
    dialect: Dialect = field(default_factory=lambda: Dialect("as AWS documents it"))
    """How it answers where servers differ."""
    gate: trio.Event | None = None
    """Ranged GETs wait for it."""
    body_bytes: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """By "METHOD key", with "?torrent" behind the key where asked."""

    @staticmethod
    def etag(body: bytes) -> str:
        return f'"{hashlib.md5(body).hexdigest()}"'

    def _etag(self, key: str) -> str:
        return self.etags.get(key) or self.etag(self.objects[key])

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        """Answer one request."""
        key = unquote(seen.path.split("/", 2)[2])
        [version] = parse_qs(seen.query).get("versionId", [""])
        if version:
            key = f"{key}?{version}"
        asked = parse_qs(seen.query, keep_blank_values=True)
        if not key and "prefix" in asked:
            await self._list(seen, stream, asked)
            return
        torrent = seen.query.startswith("torrent")
        self.requests[f"{seen.method} {key}{'?torrent' if torrent else ''}"] += 1
        if self.down is not None:
            await self._refuse(seen, stream, *self.down)
        elif key in self.refuse:
            await self._refuse(seen, stream, 403, _error("AccessDenied"))
        elif torrent and key in self.torrents:
            await self._send(seen, stream, 200, self.torrents[key])
        elif torrent and not isinstance(refused := self.dialect.torrent, str):
            await self._refuse(seen, stream, *(refused or NOT_IMPLEMENTED))
        elif key not in self.objects:
            await self._refuse(seen, stream, 404, _error("NoSuchKey"))
        elif torrent and self.dialect.torrent != "object":
            await self._send(seen, stream, 200, self._torrent(key))
        elif "attributes" in asked and key in self.attributes:
            kind = ("Content-Type", "application/xml")
            await self._send(seen, stream, 200, self.attributes[key], kind)
        elif "attributes" in asked and not isinstance(told := self.dialect.attributes, str):
            await self._refuse(seen, stream, *(told or NOT_IMPLEMENTED))
        elif "attributes" in asked and self.dialect.attributes == "parts":
            await self._send(seen, stream, 200, self._attributes(key))
        elif "partNumber" in asked and self.dialect.parts != "whole":
            await self._head_of_part(seen, stream, key, int(asked["partNumber"][0]))
        else:
            await self._get(seen, stream, key)

    def _parts(self, key: str) -> list[bytes]:
        body = self.objects[key]
        return [body[start : start + self.part] for start in range(0, len(body), self.part)]

    def _torrent(self, key: str) -> bytes:
        body = self.objects[key]
        if self.dialect.torrent == "lies":
            body = body[: self.part] + bytes(len(body) - self.part)
        name = key.rpartition("/")[2]
        return make_torrent(body, name=name, piece_length=self.part).file()

    def _attributes(self, key: str) -> bytes:
        parts = self._parts(key)
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(part)}</Size>"
            f"<ChecksumSHA1>{_sha1(part)}</ChecksumSHA1></Part>"
            for number, part in enumerate(parts, 1)
        )
        return (
            f"<GetObjectAttributesResponse><ETag>{self._etag(key).strip(chr(34))}</ETag>"
            f"<ObjectParts><PartsCount>{len(parts)}</PartsCount><IsTruncated>false</IsTruncated>"
            f"{listed}</ObjectParts><ObjectSize>{len(self.objects[key])}</ObjectSize>"
            "</GetObjectAttributesResponse>"
        ).encode()

    async def _head_of_part(
        self, seen: Seen, stream: trio.abc.Stream, key: str, number: int
    ) -> None:
        parts = self._parts(key)
        part = parts[number - 1]
        etag = self.etag(part) if self.dialect.parts == "own ETag" else self._etag(key)
        told = [
            ("Content-Length", str(len(part))),
            ("ETag", etag),
            ("x-amz-mp-parts-count", str(len(parts))),
            ("x-amz-checksum-sha1", _sha1(part)),
        ]
        await stream.send_all(head(206, told))

    async def _list(self, seen: Seen, stream: trio.abc.Stream, asked: dict[str, list[str]]) -> None:
        self.requests["LIST"] += 1
        dialect = self.dialect
        assert asked["encoding-type"] == ["url"]
        [prefix] = asked["prefix"]
        if dialect.refuses_v2 is not None and "list-type" in asked:
            await self._refuse(seen, stream, *dialect.refuses_v2)
            return
        there = self.objects.keys() - self.unlisted
        below = sorted((key for key in there if key.startswith(prefix)), key=str.encode)
        if dialect.v2:
            begin = int(asked.get("continuation-token", ["0"])[0])
        else:
            marker = asked.get("marker", [""])[0].encode()
            begin = sum(key.encode() <= marker for key in below)
        if begin // self.page in self.broken_pages:
            await self._refuse(seen, stream, 403, _error("AccessDenied"))
            return
        end = begin + self.page
        more = end < len(below)
        contents = "".join(f"<Contents>{self._entry(key)}</Contents>" for key in below[begin:end])
        told = "<EncodingType>url</EncodingType>" if dialect.keys != "plain" else ""
        if dialect.v2:
            told += f"<KeyCount>{len(below[begin:end])}</KeyCount>"
        else:
            told += f"<Marker>{escape(encode_key(dialect, asked.get('marker', [''])[0]))}</Marker>"
        if more and dialect.v2:
            told += f"<NextContinuationToken>{end}</NextContinuationToken>"
        elif more and dialect.next_marker:
            told += f"<NextMarker>{escape(encode_key(dialect, below[end - 1]))}</NextMarker>"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<ListBucketResult{dialect.namespace}><Name>bucket</Name>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{told}{contents}</ListBucketResult>"
        )
        await self._send(seen, stream, 200, body.encode())

    def _entry(self, key: str) -> str:
        """Return what is in an entry of a listing."""
        if key in self.entries:
            return self.entries[key]
        etag = self._etag(key) if self.dialect.quotes else self._etag(key).strip('"')
        tag = f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag>"
        size = self.listed_sizes.get(key, self.sizes.get(key, len(self._stored(key))))
        has_tag = self.dialect.listed_etags and self.dialect.etag != "none"
        return (
            f"<Key>{escape(encode_key(self.dialect, key))}</Key>"
            "<LastModified>2026-11-24T00:00:00.000Z</LastModified>"
            f"{tag if has_tag else ''}<Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass>"
        )

    async def _get(self, seen: Seen, stream: trio.abc.Stream, key: str) -> None:
        body, etag = self.objects[key], self._etag(key)
        dialect = self.dialect
        tag = {"weak": f"W/{etag}", "bare": etag.strip('"'), "none": ""}.get(dialect.etag, etag)
        told = [*self.headers.items(), *([("ETag", tag)] if tag else [])]
        if dialect.if_match and seen.headers.get("if-match", etag).strip('"') != etag.strip('"'):
            await self._refuse(seen, stream, 412, _error("PreconditionFailed"))
            return
        if dialect.packs:
            told.append(("x-goog-stored-content-encoding", "gzip"))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        if asked is None and seen.method == "HEAD":
            length = str(self.head_sizes.get(key, self.sizes.get(key, len(self._stored(key)))))
            if dialect.head_length != "right":
                length = dialect.head_length or ""
            if length and not dialect.packs:
                told.append(("Content-Length", length))
            await stream.send_all(head(200, told))
            return
        if asked is None or not dialect.ranges or dialect.packs:
            await self._send(seen, stream, 200, body, *told)
            return
        if self.gate is not None:
            await self.gate.wait()
        first, last = int(asked[1]), int(asked[2])
        part = bytearray(body[first : last + 1])
        for bad_key, offset in self.corrupt:
            if bad_key == key and first <= offset <= last:
                part[offset - first] ^= 0xFF
        if (first, last) in self.corrupt_ranges:
            part[0] ^= 0xFF
        for (bad_key, offset), left in self.flips.items():
            if bad_key == key and first <= offset <= last and left:
                part[offset - first] ^= 1 << (left & 7)
                self.flips[bad_key, offset] -= 1
        self.body_bytes[key] += len(part)
        if first >= len(body):
            await self._refuse(seen, stream, 416, _error("InvalidRange"))
            return
        last = min(last, len(body) - 1)
        content_range = ("Content-Range", f"bytes {first}-{last}/{len(body)}")
        await self._send(seen, stream, 206, bytes(part), *told, content_range)

    async def _send(
        self,
        seen: Seen,
        stream: trio.abc.Stream,
        status: int,
        body: bytes,
        *headers: tuple[str, str],
    ) -> None:
        length = ("Content-Length", str(len(body)))
        if self.dialect.chunked and seen.method != "HEAD" and body:
            length = ("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        start = head(status, [length, *headers])
        await stream.send_all(start + (b"" if seen.method == "HEAD" else body))

    async def _refuse(self, seen: Seen, stream: trio.abc.Stream, status: int, body: bytes) -> None:
        if not self.dialect.pages or status < 400:
            await self._send(seen, stream, status, body)
            return
        page = b"<html><head><title>%d Sorry</title></head></html>" % status
        told = (("Content-Type", "text/html"), ("Server", "nginx"))
        await self._send(seen, stream, status, page, *told)

    def _stored(self, key: str) -> bytes:
        """Return an object as it is kept."""
        return gzip.compress(self.objects[key]) if self.dialect.packs else self.objects[key]


def _sha1(body: bytes) -> str:
    return base64.b64encode(hashlib.sha1(body).digest()).decode()


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as asked</Message></Error>".encode()
