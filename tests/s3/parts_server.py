"""An object of zeros in parts of any size, stored nowhere, with the SHA-1 of each as S3 has it.

For tests of what S3 tells of parts: an object of a terabyte costs as much as what is read of it.
"""

import base64
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import trio

from tests.s3.fault_server import Reply, Seen, answer, error, head

_CHUNK = bytes(1 << 20)


@cache
def sha1_of_zeros(size: int) -> bytes:
    """Return the SHA-1 of so many zeros."""
    digest = hashlib.sha1(usedforsecurity=False)
    for start in range(0, size, len(_CHUNK)):
        digest.update(_CHUNK[: min(len(_CHUNK), size - start)])
    return digest.digest()


@dataclass
class PartsServer:
    """One object in parts of these sizes (one part: uploaded in one go); assign `serve`."""

    sizes: Sequence[int]
    etag: str = "0f343b0931126a20f133d67c2b018a3b-2"
    hashes: dict[int, bytes | None] = field(default_factory=dict)
    """By the number of a part, where its SHA-1 is not that of zeros: None leaves it out."""
    page: int = 1000
    """Parts told in one answer, at most."""
    attributes: Reply | None = None
    """Answers GetObjectAttributes in its place."""
    heads: Reply | None = None
    """Answers a HEAD of a part in its place."""
    requests: Counter[str] = field(default_factory=Counter)
    """By kind: "page", "part", "range", and what else was asked, by its method and query."""
    body_bytes: int = 0
    """Of the object, in answers to ranged GETs."""

    @property
    def size(self) -> int:
        return sum(self.sizes)

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        """Answer one request."""
        tag = f'"{self.etag}"'
        if seen.headers.get("if-match", tag) != tag:
            await error(412, "PreconditionFailed")(seen, stream)
        elif "attributes" in seen.query.split("&"):
            self.requests["page"] += 1
            reply = self.attributes or answer(200, self._page(seen), content_type="application/xml")
            await reply(seen, stream)
        elif found := re.search(r"partNumber=(\d+)", seen.query):
            self.requests["part"] += 1
            await (self.heads or self._part(int(found[1])))(seen, stream)
        elif "range" in seen.headers:
            self.requests["range"] += 1
            await self._range(seen, stream)
        else:
            self.requests[f"{seen.method} {seen.query}".strip()] += 1
            await error(501 if seen.query else 404, "NotThere")(seen, stream)

    def _sha1(self, number: int) -> bytes | None:
        return self.hashes.get(number, sha1_of_zeros(self.sizes[number - 1]))

    def _page(self, seen: Seen) -> bytes:
        assert seen.headers["x-amz-object-attributes"] == "ETag,Checksum,ObjectParts,ObjectSize"
        marker = int(seen.headers.get("x-amz-part-number-marker", "0"))
        last = min(marker + min(self.page, int(seen.headers["x-amz-max-parts"])), len(self.sizes))
        if len(self.sizes) == 1:
            return self._document(_checksum(self._sha1(1)), "")
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{self.sizes[number - 1]}</Size>"
            f"{_checksum(self._sha1(number))}</Part>"
            for number in range(marker + 1, last + 1)
        )
        more = "true" if last < len(self.sizes) else "false"
        return self._document(
            "<ChecksumSHA1>HruE1s5ijLbhrgTQglTfAw8X3KU=</ChecksumSHA1>"
            "<ChecksumType>COMPOSITE</ChecksumType>",
            f"<ObjectParts><PartsCount>{len(self.sizes)}</PartsCount><IsTruncated>{more}"
            f"</IsTruncated><NextPartNumberMarker>{last}</NextPartNumberMarker>{parts}"
            "</ObjectParts>",
        )

    def _document(self, checksum: str, parts: str) -> bytes:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<GetObjectAttributesResponse '
            'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<ETag>{self.etag}</ETag><Checksum>{checksum}</Checksum>{parts}"
            f"<ObjectSize>{self.size}</ObjectSize></GetObjectAttributesResponse>"
        ).encode()

    def _part(self, number: int) -> Reply:
        headers = {
            "content_length": str(self.sizes[number - 1]),
            "content_range": f"bytes 0-0/{self.size}",
            "etag": f'"{self.etag}"',
        }
        if len(self.sizes) > 1:
            headers["x_amz_mp_parts_count"] = str(len(self.sizes))
        sha1 = self._sha1(number)
        if sha1 is not None:
            headers["x_amz_checksum_sha1"] = base64.b64encode(sha1).decode()
        return answer(206, b"", **headers)

    async def _range(self, seen: Seen, stream: trio.abc.Stream) -> None:
        first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
        left = last + 1 - first
        self.body_bytes += left
        fields = [
            ("content-length", str(left)),
            ("content-range", f"bytes {first}-{last}/{self.size}"),
            ("etag", f'"{self.etag}"'),
        ]
        await stream.send_all(head(206, fields))
        for start in itertools.count(0, len(_CHUNK)):
            if start >= left:
                break
            await stream.send_all(_CHUNK[: min(len(_CHUNK), left - start)])


def _checksum(sha1: bytes | None) -> str:
    return "" if sha1 is None else f"<ChecksumSHA1>{base64.b64encode(sha1).decode()}</ChecksumSHA1>"
