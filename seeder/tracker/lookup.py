"""Numbers by their keys, for some eleven bytes each.

The keys lie packed in rows that somebody else keeps, at equal distances, and the numbers are those
of the rows. A dictionary would keep an object for each key and one for each number.

A byte of each key's hash, its tag, stands in one of many small pages, which is searched as bytes
are; the key itself says whether it is the right one. The pages become more one by one as the
numbers do (linear hashing: W. Litwin, 1980), and fewer again, so that nobody ever waits for all of
them to be sorted anew. What strangers choose as keys can't fill one page: the hash of bytes is
another one in each process.

No I/O.
"""

from array import array

_ON_A_PAGE = 40
"""Keys on a page, on average. Of more, too many have one tag by chance; a page takes 170 bytes."""
_TAG, _TAG_BITS = 0xFF, 8
"""The tag is the lowest byte of a hash; the others say the page."""


class Lookup:
    """The numbers of rows by the first bytes of each row."""

    __slots__ = ("_count", "_length", "_numbers", "_rows", "_stride", "_tags", "_wide")

    def __init__(self, rows: bytearray, stride: int, length: int) -> None:
        """Begin without any; rows are `stride` bytes long, and their keys the first `length`."""
        self._rows = rows
        self._stride = stride
        self._length = length
        self._tags = [bytearray()]
        """By page, a byte each."""
        self._numbers = [array("i")]
        """The same of the numbers."""
        self._wide = 0
        """The bits that say a page; where there is none yet, all but the highest."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, key: bytes, row: bytes = b"") -> int:
        """Return the number of a key, -1 if there is none, or its row doesn't begin with `row`."""
        hashed, pages = hash(key), self._tags
        page, tag = hashed >> _TAG_BITS & self._wide, hashed & _TAG
        if page >= len(pages):
            page &= self._wide >> 1
        tags, numbers = pages[page], self._numbers[page]
        at = tags.find(tag)
        while at >= 0:
            number = numbers[at]
            if self._rows.startswith(row or key, number * self._stride):
                return number
            at = tags.find(tag, at + 1)
        return -1

    def find_or_add(self, key: bytes, number: int) -> int:
        """Return the number of a key; where there is none, take in this one, and return -1.

        Its row is there when the next one is taken in.
        """
        found = self.find(key)
        if found >= 0:
            return found
        if self._count >= _ON_A_PAGE * len(self._tags):
            self._split()
        hashed = hash(key)
        page = self._page(hashed)
        self._tags[page].append(hashed & _TAG)
        self._numbers[page].append(number)
        self._count += 1
        return -1

    def remove(self, number: int, key: bytes) -> None:
        """Let go of a number that is there by a key; its row is there until then."""
        page, place = self._place(number, key)
        tags, numbers = self._tags[page], self._numbers[page]
        last, tag = numbers.pop(), tags.pop()
        if last != number:
            numbers[place], tags[place] = last, tag
        self._count -= 1
        if self._count < _ON_A_PAGE * len(self._tags) >> 1:
            self._join()

    def renumber(self, number: int, other: int, key: bytes) -> None:
        """Have what is there by a key have another number, which nothing has."""
        page, place = self._place(number, key)
        self._numbers[page][place] = other

    def _page(self, hashed: int) -> int:
        page = hashed >> _TAG_BITS & self._wide
        return page if page < len(self._tags) else page & self._wide >> 1

    def _place(self, number: int, key: bytes) -> tuple[int, int]:
        """Return the page on which a number is, and its place there; KeyError if it is on none."""
        hashed = hash(key)
        page = self._page(hashed)
        tags, numbers, tag = self._tags[page], self._numbers[page], hashed & _TAG
        at = tags.find(tag)
        while at >= 0:
            if numbers[at] == number:
                return page, at
            at = tags.find(tag, at + 1)
        raise KeyError(key)

    def _split(self) -> None:
        """Make one page more, of a part of another."""
        new = len(self._tags)
        if new > self._wide:
            self._wide = 2 * self._wide + 1
        old = new & self._wide >> 1
        tags, numbers = self._tags[old], self._numbers[old]
        self._tags[old], self._numbers[old] = bytearray(), array("i")
        self._tags.append(bytearray())
        self._numbers.append(array("i"))
        for tag, number in zip(tags, numbers, strict=True):
            start = number * self._stride
            page = self._page(hash(bytes(self._rows[start : start + self._length])))
            self._tags[page].append(tag)
            self._numbers[page].append(number)

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
