"""S3's checksums of the parts of an object, and the piece hashes that they are. No I/O.

An object that was uploaded in parts with ChecksumAlgorithm=SHA1 keeps the SHA-1 of each. Where all
parts but the last have one size that a torrent may have as its piece length, those are the hashes
of its pieces (BEP 3): nothing has to be read to know them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from seeder.s3.answers import content_length
from seeder.s3.xml import read_xml
from seeder.torrent.layout import SHA1_LENGTH
from seeder.units import whole_number

_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object: its number, its bytes and their SHA-1, None where S3 keeps none."""

    number: int
    size: int
    sha1: bytes | None


@dataclass(frozen=True, slots=True)
class Attributes:
    """One page of GetObjectAttributes; what the answer doesn't say is None."""

    etag: str | None
    """Without quotes, as S3 has it here and nowhere else."""
    size: int | None
    sha1: bytes | None
    """Of the object as a whole; None where it is one of the hashes of its parts."""
    count: int | None
    """How many parts the object has; None for one that was uploaded in one go."""
    parts: tuple[Part, ...]
    next_marker: int | None
    """The number of the last part on this page where further ones follow."""


def parse_attributes(document: bytes) -> Attributes | None:
    """Return what a body says that should be GetObjectAttributesResponse; None if it is not."""
    texts: dict[str, str] = {}
    parts: list[Part] = []
    part: dict[str, str] = {}

    def take(path: list[str], text: str) -> None:
        match path[1:]:
            case ["ObjectParts", "Part"]:
                parts.append(_part_of(part))
                part.clear()
            case ["ObjectParts", "Part", name]:
                part[name] = text.strip()
            case names:
                texts["/".join(names)] = text.strip()

    try:
        read_xml(document, take, is_root=_is_root, longest=_LONGEST_TEXT)
    except ValueError:
        return None
    count = whole_number(
        texts.get("ObjectParts/PartsCount") or texts.get("ObjectParts/TotalPartsCount")
    )
    whole = texts.get("Checksum/ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and count is None
    truncated = texts.get("ObjectParts/IsTruncated", "").lower() == "true"
    marker = texts.get("ObjectParts/NextPartNumberMarker") if truncated else None
    return Attributes(
        etag=texts.get("ETag") or None,
        size=whole_number(texts.get("ObjectSize")),
        sha1=_sha1(texts.get("Checksum/ChecksumSHA1")) if whole else None,
        count=count,
        parts=tuple(parts),
        next_marker=whole_number(marker),
    )


def part_of_head(headers: Mapping[str, str], number: int) -> tuple[Part, int]:
    """Return the part that a HEAD of part `number` describes, and how many the object has."""
    part = Part(number, content_length(headers) or 0, _sha1(headers.get("x-amz-checksum-sha1")))
    return part, whole_number(headers.get("x-amz-mp-parts-count")) or 1


def _is_root(name: str) -> bool:
    return name.lower().startswith("getobjectattributes")


def _part_of(texts: Mapping[str, str]) -> Part:
    return Part(
        whole_number(texts.get("PartNumber")) or 0,
        whole_number(texts.get("Size")) or 0,
        _sha1(texts.get("ChecksumSHA1")),
    )


def _sha1(text: str | None) -> bytes | None:
    """Return a checksum; None for one with "-N" behind it, which is a hash of hashes."""
    try:
        digest = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == SHA1_LENGTH else None
