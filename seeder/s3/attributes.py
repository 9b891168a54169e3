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

from seeder.errors import MetainfoError
from seeder.s3.answers import content_length
from seeder.torrent.layout import KIB, LARGEST_PIECE_LENGTH, MIB, Layout

SHA1_LENGTH = 20
SMALLEST_PART_LENGTH = 8 * MIB
"""The smallest power of two that S3 takes as a part: it wants 5 MiB of all but the last."""
_SMALLEST_PIECE_LENGTH = 16 * KIB
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


class PartHashes:
    """Takes the parts of an object of `size` bytes in order, as long as they can be its pieces.

    `wanted` is the piece length that the configuration asks for, in bytes.
    """

    def __init__(self, size: int, wanted: int | None) -> None:
        self._size = size
        self._wanted = wanted
        self._length = 0
        self._covered = 0
        self._number = 0
        self._hashes: list[bytes] = []

    @property
    def complete(self) -> bool:
        return self._covered == self._size

    def add(self, part: Part) -> None:
        """Take the next part; MetainfoError says why this can't be a piece."""
        number = part.number
        if number <= self._number:  # S3 leaves gaps where the publisher did
            raise MetainfoError(f"S3 lists part {number} behind part {self._number}")
        self._number = number
        if part.sha1 is None:
            raise MetainfoError(f"S3 keeps no SHA-1 of part {number}")
        if not self._hashes:
            self._check_length(part.size)
            self._length = part.size
        self._covered += part.size
        if self._covered > self._size:
            raise MetainfoError(f"its parts up to {number} have more than its {self._size} bytes")
        last = self._covered == self._size
        if part.size != self._length and not (last and 0 < part.size < self._length):
            raise MetainfoError(
                f"its parts are of uneven size: the first has {self._length} bytes, part {number}"
                f" {part.size}"
            )
        self._hashes.append(part.sha1)

    def _check_length(self, length: int) -> None:
        """Check the size of the first part; that of an only one is its piece length's affair."""
        if length >= self._size:
            most = self._wanted or LARGEST_PIECE_LENGTH
            if length > most:
                raise MetainfoError(f"it is one part of {length} bytes; a piece has {most} at most")
            return
        if self._wanted not in (None, length):
            raise MetainfoError(
                f"its parts are {length} bytes, the configuration says"
                f" piece_length = {self._wanted}"
            )
        fits = _SMALLEST_PIECE_LENGTH <= length <= LARGEST_PIECE_LENGTH
        if not fits or length & (length - 1):
            raise MetainfoError(
                f"its parts are {length} bytes, a piece length is a power of two from"
                f" {_SMALLEST_PIECE_LENGTH} to {LARGEST_PIECE_LENGTH}"
            )

    def finish(self) -> tuple[Layout, bytes]:
        """Return the layout and the concatenated SHA-1s, 20 bytes a piece.

        MetainfoError where parts are missing.
        """
        if not self.complete:
            raise MetainfoError(
                f"its {len(self._hashes)} parts have {self._covered} bytes, the object {self._size}"
            )
        length = self._length
        if len(self._hashes) == 1:
            length = self._wanted or max(_SMALLEST_PIECE_LENGTH, 1 << (length - 1).bit_length())
        return Layout(self._size, length), b"".join(self._hashes)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _sha1(text: str | None) -> bytes | None:
    """Return a checksum; None for one with "-N" behind it, which is a hash of hashes."""
    try:
        digest = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == SHA1_LENGTH else None
