"""The question whether an object was replaced, by itself."""

from typing import Any, cast

import trio
from trio.testing import MockClock

from seeder.publish.replacing import MOST_STATES, PAUSE, HeldTorrent, Replacing
from seeder.torrent.info import parse_torrent
from seeder.torrent.layout import Layout, sha1
from seeder.torrent.objects import ObjectRef, PinnedObject, sections_of
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.metainfo.support import make_torrent

REF = ObjectRef("default", "bucket", "key")


class Served:
    """What is asked of a torrent that is held."""

    sections = ()
    held: Any = None


def state(number: int) -> PinnedObject:
    return PinnedObject(REF, f'"{number}"', 5)


async def test_looks_are_a_while_apart_as_long_as_the_question_is_open(
    autojump_clock: MockClock,
) -> None:
    replacing = Replacing()
    began = trio.current_time()
    for _ in range(3):
        await replacing.pause()
    assert trio.current_time() == began  # nobody asked
    replacing.hold(cast("Torrent", Served()), None)
    for _ in range(3):
        await replacing.pause()
    assert trio.current_time() - began == 2 * PAUSE


async def test_who_waits_goes_on_when_it_is_settled(autojump_clock: MockClock) -> None:
    replacing, served = Replacing(), Served()
    replacing.hold(cast("Torrent", served), None)
    held = served.held
    replacing.hold(cast("Torrent", served), None)
    assert served.held.known is held.known  # one question, however often it is asked
    replacing.settle()
    with trio.fail_after(1):
        await held.known.wait()
    assert not replacing.is_open


def test_the_latest_states_are_known_and_the_oldest_is_forgotten_first() -> None:
    replacing = Replacing()
    for number in range(MOST_STATES):
        replacing.remember(state(number))
    replacing.remember(state(0), state(MOST_STATES))
    assert replacing.knows(state(0))
    assert not replacing.knows(state(1))
    assert replacing.knows(state(2))
    replacing.forget()
    assert not replacing.knows(state(0))


async def test_hashes_of_pieces_of_another_length_say_nothing() -> None:
    body = bytes(range(256)) * 512
    whole = parse_torrent(make_torrent(body, piece_length=32 * KIB)).info
    ended: list[bool] = []
    held = HeldTorrent(Torrent(whole, state(1), "build"), lambda: ended.append(True))
    for length, other in ((64 * KIB, False), (32 * KIB, False), (32 * KIB, True)):
        digests = [sha1(bytes(length)) if other else sha1(body[:length])]
        [section] = sections_of(state(2), Layout(len(body), length))
        await held.compare(section, 0, digests)
        assert bool(ended) == other
