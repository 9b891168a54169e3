"""A range that comes in pieces of any length is handed on in whole parts, each once."""

from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import ObjectChanged, OriginFault
from seeder.s3.ranges import RangeRead
from seeder.s3.transport import Broken
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange

BODY = bytes(range(100))
PINNED = PinnedObject(ObjectRef("default", "quotes", "Nelson"), '"one"', len(BODY))


class Believing:
    """Witnesses that know nothing against an object."""

    def __init__(self, *, matched: bool = True) -> None:
        self.matched = matched

    def may_match(self, _pinned: PinnedObject) -> bool:
        return self.matched


class Answer:
    """The answer to a range, which brings up to `size` bytes at a time, `most` in all."""

    status = 206

    def __init__(self, asked: str, size: int, most: int, *, longer: bool = False) -> None:
        first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        self.headers = {
            "content-range": f"bytes {first}-{last}/{len(BODY)}",
            "content-length": str(last + 1 - first),
            "etag": '"one"',
        }
        self._left = BODY[first : last + 1][:most]
        self._size = size
        self._longer = longer

    async def receive_into(self, room: memoryview) -> int:
        part = self._left[: min(self._size, len(room))]
        self._left = self._left[len(part) :]
        room[: len(part)] = part
        return len(part)

    async def has_more(self) -> bool:
        return self._longer


def reading(wanted: ByteRange, part_length: int, *, matched: bool = True) -> tuple[RangeRead, Any]:
    parts: list[bytearray] = []
    witnesses = cast(Any, Believing(matched=matched))
    return RangeRead(PINNED, wanted, part_length, parts.append, witnesses), parts


def receive(read: RangeRead, answer: Answer) -> None:
    trio.run(read.receive, cast(Any, answer))


@given(st.integers(1, 60), st.integers(1, 70), st.lists(st.integers(0, 50), max_size=5))
def test_what_breaks_off_goes_on_where_it_ended(
    part_length: int, size: int, breaks: list[int]
) -> None:
    wanted = ByteRange(10, 90)
    read, parts = reading(wanted, part_length)
    for most in [*breaks, len(BODY)]:
        try:
            receive(read, Answer(read.headers["Range"], size, most))
        except Broken:
            continue
        break
    assert b"".join(parts) == BODY[10:]
    assert [len(part) for part in parts[:-1]] == [part_length] * (len(parts) - 1)


def test_a_body_that_goes_on_is_a_fault() -> None:
    read, _ = reading(ByteRange(0, 10), 10)
    with pytest.raises(OriginFault, match="asked for 10 bytes, S3 sends more"):
        receive(read, Answer("bytes=0-9", 10, 10, longer=True))


def test_without_a_match_the_answer_has_to_tell_its_etag() -> None:
    read, parts = reading(ByteRange(0, 10), 10, matched=False)
    assert not read.is_matched
    answer = Answer("bytes=0-9", 10, 10)
    del answer.headers["etag"]
    with pytest.raises(ObjectChanged, match="no longer tells its ETag"):
        receive(read, answer)
    assert not parts
