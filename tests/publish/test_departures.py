"""The time that torrents have to come back, by itself."""

from typing import cast

import pytest
import trio
from trio.testing import MockClock

from seeder.publish.departures import GRACE, Departures
from seeder.torrent.info import InfoHash
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent

REF = ObjectRef("default", "bucket", "key")


class Ended:
    """What is asked of a torrent that has ended."""

    def __init__(self, name: bytes = b"a", ref: ObjectRef = REF) -> None:
        self.info_hash = InfoHash(name * 20)
        self.pinned = PinnedObject(ref, '"etag"', 5)


class Hall:
    """Departures, who is gone for good (and when), and whose object is being hashed."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.gone: list[tuple[Ended, str, object]] = []
        self.made: set[ObjectRef] = set()
        self.departures = Departures(nursery, end=self._end, may_come=self.made.__contains__)
        self._begun = trio.current_time()

    def _end(self, torrent: Torrent, reason: str) -> None:
        self.gone.append((cast("Ended", torrent), reason, trio.current_time() - self._begun))

    def add(self, ended: Ended, reason: str = "deleted") -> None:
        self.departures.add(cast("Torrent", ended), reason)

    def forget(self, ended: Ended) -> None:
        self.departures.forget(cast("Torrent", ended))


async def test_each_is_gone_for_good_after_the_same_time(autojump_clock: MockClock) -> None:
    first, second = Ended(b"a"), Ended(b"b", ObjectRef("default", "bucket", "other"))
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        hall.add(first)
        await trio.sleep(60)
        hall.add(second, "lost")
        assert hall.departures.find(first.info_hash) is cast("Torrent", first)
        assert hall.departures.of(second.pinned.ref) is cast("Torrent", second)
    # Its task ends with the last one.
    assert hall.gone == [
        (first, "deleted", pytest.approx(GRACE)),
        (second, "lost", pytest.approx(GRACE + 60)),
    ]
    assert hall.departures.find(first.info_hash) is None
    assert hall.departures.of(REF) is None


async def test_who_has_come_back_is_not_ended(autojump_clock: MockClock) -> None:
    back, other = Ended(b"a"), Ended(b"b", ObjectRef("default", "bucket", "other"))
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        hall.add(back)
        hall.add(other)
        hall.forget(back)
        await trio.sleep(GRACE / 2)
        hall.add(back)  # it is deleted once more
        hall.forget(back)
    assert [ended for ended, *_ in hall.gone] == [other]


async def test_who_goes_again_has_the_whole_time_again(autojump_clock: MockClock) -> None:
    ended = Ended()
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        hall.add(ended)
        await trio.sleep(GRACE / 2)
        hall.forget(ended)
        hall.add(ended)
    assert hall.gone == [(ended, "deleted", pytest.approx(1.5 * GRACE))]


async def test_an_object_that_is_being_hashed_again_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    ended = Ended()
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        hall.made.add(REF)
        hall.add(ended)
        await trio.sleep(2.5 * GRACE)
        assert hall.gone == []
        hall.made.clear()
    assert hall.gone == [(ended, "deleted", pytest.approx(3 * GRACE))]


async def test_the_last_torrent_of_an_object_is_the_one_that_may_come_back(
    autojump_clock: MockClock,
) -> None:
    first, second = Ended(b"a"), Ended(b"b")
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        hall.add(first)
        hall.add(second)
        hall.forget(first)
        assert hall.departures.of(REF) is cast("Torrent", second)
    assert [ended for ended, *_ in hall.gone] == [second]


async def test_a_fault_with_one_keeps_no_other_from_its_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Ended(b"a"), Ended(b"b", ObjectRef("default", "bucket", "other"))
    async with trio.open_nursery() as nursery:
        hall = Hall(nursery)
        end = hall._end

        def fail_once(torrent: Torrent, reason: str) -> None:
            if cast("Ended", torrent) is first:
                raise KeyError("a bug")
            end(torrent, reason)

        hall.departures = Departures(nursery, end=fail_once, may_come=hall.made.__contains__)
        hall.add(first)
        hall.add(second)
    assert [each for each, _, _ in hall.gone] == [second]
    assert hall.departures.find(first.info_hash) is None
    assert "bucket/key: internal error" in caplog.text
