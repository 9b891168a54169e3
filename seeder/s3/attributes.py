"""S3's checksums of the parts of an object, and the piece hashes that they are. No I/O.

An object that was uploaded in parts with ChecksumAlgorithm=SHA1 keeps the SHA-1 of each. Where all
parts but the last have one size that a torrent may have as its piece length, those are the hashes
of its pieces (BEP 3): nothing has to be read to know them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from seeder.s3.answers import content_length

SHA1_LENGTH = 20
_DEEPEST = 8
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


class _Reader:
    """Takes a document apart as expat walks through it."""

    def __init__(self) -> None:
        self.root = ""
        self.texts: dict[str, str] = {}
        self.parts: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text = ""

    def read(self, document: bytes) -> None:
        """Read a document; ExpatError or ValueError for what is none."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(document, True)

    def _start(self, name: str, _: Mapping[str, str]) -> None:
        self.root = self.root or name
        self._path.append(name)
        self._text = ""
        if len(self._path) > _DEEPEST:
            raise ValueError("too deep")
        if self._path[1:] == ["ObjectParts", "Part"]:
            self.parts.append({})

    def _end(self, _: str) -> None:
        path = self._path[1:]
        self._path.pop()
        if path[:2] == ["ObjectParts", "Part"]:
            if len(path) == 3:
                self.parts[-1][path[2]] = self._text.strip()
        elif path:
            self.texts["/".join(path)] = self._text.strip()
        self._text = ""

    def _characters(self, text: str) -> None:
        self._text += text
        if len(self._text) > _LONGEST_TEXT and self._text.strip():
            raise ValueError("too long")


def _refuse_doctype(*_: object) -> None:
    # Entities can only be declared in one, and S3 sends none.
    raise ValueError("a document type")


def parse_attributes(document: bytes) -> Attributes | None:
    """Return what a body says that should be GetObjectAttributesResponse; None if it is not."""
    reader = _Reader()
    try:
        reader.read(document)
    except (expat.ExpatError, ValueError, LookupError):
        return None
    if not reader.root.lower().startswith("getobjectattributes"):
        return None
    texts = reader.texts
    count = _number(texts.get("ObjectParts/PartsCount") or texts.get("ObjectParts/TotalPartsCount"))
    whole = texts.get("Checksum/ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and count is None
    truncated = texts.get("ObjectParts/IsTruncated", "").lower() == "true"
    return Attributes(
        etag=texts.get("ETag") or None,
        size=_number(texts.get("ObjectSize")),
        sha1=_sha1(texts.get("Checksum/ChecksumSHA1")) if whole else None,
        count=count,
        parts=tuple(
            Part(
                _number(part.get("PartNumber")) or 0,
                _number(part.get("Size")) or 0,
                _sha1(part.get("ChecksumSHA1")),
            )
            for part in reader.parts
        ),
        next_marker=_number(texts.get("ObjectParts/NextPartNumberMarker")) if truncated else None,
    )


def part_of_head(headers: Mapping[str, str], number: int) -> tuple[Part, int]:
    """Return the part that a HEAD of part `number` describes, and how many the object has."""
    part = Part(number, content_length(headers) or 0, _sha1(headers.get("x-amz-checksum-sha1")))
    return part, _number(headers.get("x-amz-mp-parts-count")) or 1


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _sha1(text: str | None) -> bytes | None:
    """Return a checksum; None for one with "-N" behind it, which is a hash of hashes."""
    try:
        digest = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == SHA1_LENGTH else None
