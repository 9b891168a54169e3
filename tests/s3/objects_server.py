"""Objects for the fault server to serve as S3 would, with counts and a few vices."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import trio

from tests.s3.dialects import Dialect, encode_key
from tests.s3.fault_server import Seen, head


@dataclass
class ObjectsServer:
    """A bucket; assign `serve` to FaultServer.default."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """By key; a version other than the newest by "key?version"."""
    torrents: dict[str, bytes] = field(default_factory=dict)
    """What ?torrent answers, by key; others get 501."""
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
        if key in self.refuse:
            await self._send(seen, stream, 403, _error("AccessDenied"))
        elif torrent:
            told = self.torrents.get(key)
            refused = self.dialect.torrent
            if told is None and refused is not None:
                await self._send(seen, stream, *refused)
            elif told is None:
                await self._send(seen, stream, 200, self.objects[key])
            else:
                await self._send(seen, stream, 200, told)
        elif key not in self.objects:
            await self._send(seen, stream, 404, _error("NoSuchKey"))
        elif "attributes" in asked and self.dialect.attributes is not None:
            await self._send(seen, stream, *self.dialect.attributes)
        else:
            await self._get(seen, stream, key)

    async def _list(self, seen: Seen, stream: trio.abc.Stream, asked: dict[str, list[str]]) -> None:
        self.requests["LIST"] += 1
        dialect = self.dialect
        assert asked["encoding-type"] == ["url"]
        [prefix] = asked["prefix"]
        if dialect.refuses_v2 is not None and "list-type" in asked:
            await self._send(seen, stream, *dialect.refuses_v2)
            return
        below = sorted((key for key in self.objects if key.startswith(prefix)), key=str.encode)
        if dialect.v2:
            begin = int(asked.get("continuation-token", ["0"])[0])
        else:
            marker = asked.get("marker", [""])[0].encode()
            begin = sum(key.encode() <= marker for key in below)
        if begin // self.page in self.broken_pages:
            await self._send(seen, stream, 403, _error("AccessDenied"))
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
        return (
            f"<Key>{escape(encode_key(self.dialect, key))}</Key>"
            "<LastModified>2026-11-24T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag>"
            f"<Size>{self.sizes.get(key, len(self.objects[key]))}</Size>"
            "<StorageClass>STANDARD</StorageClass>"
        )

    async def _get(self, seen: Seen, stream: trio.abc.Stream, key: str) -> None:
        body, etag = self.objects[key], self._etag(key)
        if self.dialect.if_match and seen.headers.get("if-match", etag) != etag:
            await self._send(seen, stream, 412, _error("PreconditionFailed"))
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        if asked is None and seen.method == "HEAD":
            size = str(self.sizes.get(key, len(body)))
            told = [("Content-Length", size), ("ETag", etag), *self.headers.items()]
            await stream.send_all(head(200, told))
            return
        if asked is None:
            await self._send(seen, stream, 200, body, ("ETag", etag))
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
        content_range = ("Content-Range", f"bytes {first}-{last}/{len(body)}")
        await self._send(seen, stream, 206, bytes(part), ("ETag", etag), content_range)

    async def _send(
        self,
        seen: Seen,
        stream: trio.abc.Stream,
        status: int,
        body: bytes,
        *headers: tuple[str, str],
    ) -> None:
        start = head(status, [("Content-Length", str(len(body))), *headers, *self.headers.items()])
        await stream.send_all(start + (b"" if seen.method == "HEAD" else body))


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as asked</Message></Error>".encode()
