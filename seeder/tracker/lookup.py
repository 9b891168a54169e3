"""Numbers by their keys, for some fourteen bytes each.

The keys lie packed in rows that somebody else keeps, at equal distances, and the numbers are those
of the rows. A dictionary would keep an object for each key and one for each number.

A part of each key's hash, its tag, stands in one of many small pages, which is searched as bytes
are. The pages become more one by one as the numbers do (linear hashing: W. Litwin, 1980), and fewer
again, so that nobody ever waits for all of them to be sorted anew. What strangers choose as keys
can't fill one page: the hash of bytes is another one in each process.

No I/O.
"""

from array import array
from struct import Struct

_ON_A_PAGE = 40
"""Tags on a page, on average: a longer one takes longer to search, and each takes 170 bytes."""
_MASK = 2**32 - 1
_pack = Struct("=I").pack


class Lookup:
    """The numbers of rows by the first bytes of each row."""

    __slots__ = ("_count", "_length", "_numbers", "_rows", "_stride", "_tags", "_wide")

    def __init__(self, rows: bytearray, stride: int, length: int) -> None:
        """Begin without any; rows are `stride` bytes long, and their keys the first `length`."""
        self._rows = rows
        self._stride = stride
        self._length = length
        self._tags = [bytearray()]
        """By page, four bytes each."""
        self._numbers = [array("i")]
        """The same of the numbers."""
        self._wide = 0
        """The bits of a tag that say its page; where there is none yet, all but the highest."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, key: bytes, row: bytes = b"") -> int:
        """Return the number of a key, -1 if there is none, or its row doesn't begin with `row`."""
        tag = hash(key) & _MASK
        page = tag & self._wide
        if page >= len(self._tags):
            page &= self._wide >> 1
        tags, packed = self._tags[page], _pack(tag)
        at = tags.find(packed)
        if at < 0:
            return -1
        row = row or key
        length = len(row)
        while at >= 0:
            # It may have been found in the end of one tag and the beginning of the next.
            if not at & 3:
                number = self._numbers[page][at >> 2]
                start = number * self._stride
                if self._rows[start : start + length] == row:
                    return number
            at = tags.find(packed, at + 1)
        return -1

    def find_or_add(self, key: bytes, number: int) -> int:
        """Return the number of a key; where there is none, take in this one, and return -1."""
        tag = hash(key) & _MASK
        page = tag & self._wide
        if page >= len(self._tags):
            page &= self._wide >> 1
        tags, packed = self._tags[page], _pack(tag)
        if packed in tags:
            found = self.find(key)
            if found >= 0:
                return found
        tags += packed
        self._numbers[page].append(number)
        self._count += 1
        if self._count > _ON_A_PAGE * len(self._tags):
            self._split()
        return -1

    def remove(self, number: int, key: bytes) -> None:
        """Let go of a number that is there by a key."""
        page, place = self._place(number, key)
        tags, numbers = self._tags[page], self._numbers[page]
        last = numbers.pop()
        if last != number:
            numbers[place] = last
            tags[4 * place : 4 * place + 4] = tags[-4:]
        del tags[-4:]
        self._count -= 1
        if self._count < _ON_A_PAGE * len(self._tags) >> 1:
            self._join()

    def renumber(self, number: int, other: int, key: bytes) -> None:
        """Have what is there by a key have another number, which nothing has."""
        page, place = self._place(number, key)
        self._numbers[page][place] = other

    def _place(self, number: int, key: bytes) -> tuple[int, int]:
        """Return the page on which a number is, and its place there; KeyError if it is on none."""
        tag = hash(key) & _MASK
        page = tag & self._wide
        if page >= len(self._tags):
            page &= self._wide >> 1
        tags, numbers, packed = self._tags[page], self._numbers[page], _pack(tag)
        at = tags.find(packed)
        while at >= 0:
            if not at & 3 and numbers[at >> 2] == number:
                return page, at >> 2
            at = tags.find(packed, at + 1)
        raise KeyError(key)

    def _split(self) -> None:
        """Make one page more, of a part of another."""
        new = len(self._tags)
        if new > self._wide:
            self._wide = 2 * self._wide + 1
        wide = self._wide
        old = new & wide >> 1
        tags, numbers = array("I", bytes(self._tags[old])), self._numbers[old]
        pairs = list(zip(tags, numbers, strict=True))
        stays = [pair for pair in pairs if pair[0] & wide == old]
        goes = [pair for pair in pairs if pair[0] & wide == new]
        self._tags[old], self._numbers[old] = _page_of(stays)
        added_tags, added_numbers = _page_of(goes)
        self._tags.append(added_tags)
        self._numbers.append(added_numbers)

    def _join(self) -> None:
        """Put what is on the last page where it was before that was made; one page stays."""
        last = len(self._tags) - 1
        if not last:
            return
        old = last & self._wide >> 1
        self._tags[old] += self._tags.pop()
        self._numbers[old] += self._numbers.pop()
        if last == (self._wide >> 1) + 1:
            self._wide >>= 1


def _page_of(pairs: "list[tuple[int, int]]") -> "tuple[bytearray, array[int]]":
    tags = array("I", [tag for tag, _ in pairs])
    return bytearray(tags.tobytes()), array("i", [number for _, number in pairs])
