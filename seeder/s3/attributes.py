"""S3's checksums of the parts of an object, as GetObjectAttributes and HEAD tell them. No I/O.

S3 keeps the SHA-1 of each part of an object that was uploaded with ChecksumAlgorithm=SHA1. If all
parts but the last have the same size, and that is allowed as a piece length, these are the hashes
of the pieces (BEP 3): nothing has to be read to know them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from seeder.s3.heads import content_length
from seeder.s3.xml import read_xml
from seeder.torrent.layout import SHA1_LENGTH
from seeder.units import whole_number

_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object: its number, its size, its SHA-1 (None if S3 keeps none)."""

    number: int
    size: int
    sha1: bytes | None


@dataclass(frozen=True, slots=True)
class Attributes:
    """One page of GetObjectAttributes; what the answer doesn't say is None."""

    etag: str | None
    """Without quotes, as S3 writes it here and nowhere else."""
    size: int | None
    sha1: bytes | None
    """The SHA-1 of the whole object; None if S3 has only a hash of the hashes of its parts."""
    count: int | None
    """How many parts the object has; None if it was uploaded at once."""
    parts: tuple[Part, ...]
    next_marker: int | None
    """The number of the last part on this page, if more parts follow."""


def parse_attributes(document: bytes) -> Attributes | None:
    """Return what a GetObjectAttributesResponse says; None if the document is something else."""
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
    """Return a checksum; None if there is none, or a hash of hashes, which ends in "-N"."""
    try:
        digest = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == SHA1_LENGTH else None
