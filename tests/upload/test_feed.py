from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.cache.fetches import Unread, Waiter
from seeder.cache.pieces import PieceCache
from seeder.errors import OriginUnreachable, SeederError
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from seeder.upload.feed import (
    FAILURE_PAUSE,
    MOST_PIECES_OF_PEER,
    PATIENCE_IN_LINE,
    PIECE_PATIENCE,
    Feed,
    HeldPieces,
)

ERROR = OriginUnreachable("no answer")


class FakeCache:
    """A cache whose fetches end when the test says so."""

    def __init__(self) -> None:
        self.memory: dict[int, bytes] = {}
        self.warm_files: set[int] = set()
        self.cold_files: set[int] = set()
        self.asked: list[int] = []
        self.ahead: list[int] = []
        self.waiters: dict[int, Waiter] = {}
        self.unread: dict[int, Unread | None] = {}

    def peek(self, torrent: Torrent, index: int) -> bytes | None:
        return self.memory.get(index)

    def is_cached(self, torrent: Torrent, index: int) -> bool:
        return index in self.warm_files

    def is_on_disk(self, torrent: Torrent, index: int) -> bool:
        return index in self.warm_files or index in self.cold_files

    def is_cold(self, torrent: Torrent, index: int) -> bool:
        here = index in self.memory or self.is_on_disk(torrent, index)
        return not here and index not in self.waiters

    def request(
        self, torrent: Torrent, index: int, waiter: Waiter, unread: Unread | None = None
    ) -> bool:
        assert index not in self.waiters
        self.unread[index] = unread
        self.asked.append(index)
        self.waiters[index] = waiter
        return index not in self.ahead

    def read_ahead(self, torrent: Torrent, indices: range, unread: Unread | None = None) -> int:
        new = [index for index in indices if index not in self.ahead]
        self.unread.update(dict.fromkeys(new, unread))
        self.ahead += new
        return len(new) * torrent.layout.piece_length

    def forget(self, torrent: Torrent, index: int, waiter: Waiter) -> None:
        assert self.waiters.pop(index) == waiter

    def settle(self, index: int, error: SeederError | None = None) -> None:
        self.waiters.pop(index)(index, None if error else b"piece %d" % index, error)

    def lose(self, index: int, size: int) -> None:
        """Have a fetch fail, whoever waits for it still."""
        unread = self.unread.pop(index)
        if unread is not None:
            unread(size)
        if index in self.waiters:
            self.settle(index, ERROR)


class Bench:
    """A feed, and everything around it in plain sight."""

    def __init__(
        self,
        pieces: int = 100,
        piece_length: int = 1,
        held: HeldPieces | None = None,
        network: bytes = b"net",
    ) -> None:
        self.now = 0.0
        self.taken = 0
        self.may_read = 2**60
        self.read: list[int] = []
        self.away = False
        self.cache = FakeCache()
        self.wanted: dict[int, None] = {}
        self.told: list[tuple[int, SeederError | None]] = []
        layout = Layout(pieces * piece_length, piece_length)
        info = parse_info(build_info(name="x", layout=layout, pieces=bytes(20 * pieces)))
        pinned = PinnedObject(ObjectRef("default", "b", "x"), '"e"', layout.size)
        self.torrent = Torrent(info, pinned, "build")
        self.feed = Feed(
            cast(PieceCache[Torrent], self.cache),
            self.torrent,
            self.wanted,
            tell=lambda index, error: self.told.append((index, error)),
            taken=lambda: self.taken,
            may_read=self._may_read,
            unread=lambda size: self.read.append(-size),
            waits=lambda: self.away,
            clock=lambda: self.now,
            held=held or HeldPieces(),
            network=network,
        )

    def _may_read(self, size: int) -> bool:
        if sum(self.read) >= self.may_read:
            return False
        self.read.append(size)
        return True

    def want(self, *indices: int) -> None:
        self.wanted.update(dict.fromkeys(indices))
        self.feed.look_ahead(indices)

    def unwant(self, *indices: int) -> None:
        for index in indices:
            del self.wanted[index]


def test_a_piece_in_memory_is_at_hand_and_never_asked_for() -> None:
    bench = Bench()
    bench.cache.memory[3] = b"three"
    bench.want(3)
    assert bench.feed.find(3) == b"three"
    assert bench.cache.asked == []
    assert bench.feed.waiting == {}


def test_a_cold_piece_is_asked_for_once_and_at_hand_when_it_came() -> None:
    bench = Bench()
    bench.want(3)
    bench.want(3)
    assert bench.feed.find(3) is None
    assert bench.cache.asked == [3]
    bench.cache.settle(3)
    assert bench.told == [(3, None)]
    assert bench.feed.find(3) == b"piece 3"
    assert bench.feed.waiting == {}


@pytest.mark.parametrize(
    ("piece_length", "most"), [(1, MOST_PIECES_OF_PEER), (MIB, 8), (3 * MIB, 2), (16 * MIB, 1)]
)
def test_only_so_many_pieces_are_on_their_way_for_one_peer(piece_length: int, most: int) -> None:
    bench = Bench(20, piece_length)
    bench.want(*range(20))
    assert bench.cache.asked == list(range(most))
    bench.cache.settle(0)
    bench.feed.fetch()
    assert bench.cache.asked == list(range(most))  # it has come, but it isn't sent yet
    bench.unwant(0)
    bench.feed.fetch()
    assert bench.cache.asked == list(range(most + 1))


def test_a_piece_that_came_is_let_go_when_nobody_wants_it_any_more() -> None:
    bench = Bench()
    bench.want(1, 2)
    bench.unwant(2)
    bench.cache.settle(1)
    bench.cache.settle(2)
    bench.unwant(1)
    bench.feed.fetch()
    bench.want(1, 2)
    assert bench.feed.find(1) is None
    assert bench.feed.find(2) is None


def test_a_piece_that_was_cancelled_in_line_is_not_asked_for() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1, 2)
    bench.unwant(0, 1)
    bench.cache.settle(0)
    bench.feed.fetch()
    assert bench.cache.asked == [0, 2]
    assert list(bench.feed.waiting) == [2]


def test_a_fetch_is_overdue_after_ten_seconds_and_again_after_ten_more() -> None:
    bench = Bench()
    bench.want(1)
    assert bench.feed.overdue(PIECE_PATIENCE) == []
    assert bench.feed.overdue(PIECE_PATIENCE + 1) == [1]
    assert bench.feed.overdue(PIECE_PATIENCE + 2) == []
    assert bench.feed.overdue(2 * PIECE_PATIENCE + 2) == [1]
    assert bench.cache.asked == [1]


def test_nothing_is_overdue_while_s3_is_away_and_reads_wait_for_it() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1)
    bench.away = True
    for second in range(1, 60):
        assert bench.feed.overdue(float(second)) == []
    assert bench.cache.asked == [0]
    # Back, or given up: from now on the piece has as long as any.
    bench.away = False
    assert bench.feed.overdue(59.0 + PIECE_PATIENCE) == []
    assert bench.feed.overdue(60.0 + PIECE_PATIENCE) == [0]
    assert bench.feed.overdue(60.0 + PATIENCE_IN_LINE) == [1]


def test_what_s3_did_not_send_is_not_counted_as_read() -> None:
    bench = Bench()
    bench.want(1)
    assert bench.read == [1]
    bench.cache.lose(1, 1)
    assert bench.read == [1, -1]


def test_what_s3_did_not_send_to_a_peer_that_has_left_is_not_counted_either() -> None:
    bench = Bench()
    bench.want(1)
    bench.feed.close()
    bench.cache.lose(1, 1)
    assert bench.read == [1, -1]


def test_what_was_to_be_read_ahead_and_did_not_come_is_not_counted() -> None:
    bench = Bench()
    bench.taken = 1
    bench.want(1)
    ahead = [index for index in bench.cache.ahead if index != 1]
    assert ahead
    before = sum(bench.read)
    for index in ahead:
        bench.cache.lose(index, 1)
    assert sum(bench.read) == before - len(ahead)
    # Nor has the peer used up by that what may be read ahead for it.
    assert bench.feed._read_ahead.missed(50, bench.taken) == range(50, 100)


def test_a_fetch_that_nobody_wants_any_more_is_never_overdue() -> None:
    bench = Bench()
    bench.want(1)
    bench.unwant(1)
    assert bench.feed.overdue(100.0) == []
    bench.want(1)
    assert bench.feed.overdue(101.0) == []


def test_a_piece_in_line_is_overdue_after_twenty_seconds_and_then_starts_anew() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1)
    assert bench.feed.overdue(PATIENCE_IN_LINE) == [0]
    assert bench.feed.overdue(PATIENCE_IN_LINE + 1) == [1]
    assert list(bench.feed.waiting) == [0]
    bench.now = 25.0
    bench.want(1)
    assert bench.feed.waiting[1] == 25.0


def test_a_piece_that_others_brought_into_memory_leaves_the_line() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1)
    bench.cache.memory[1] = b"one"
    assert list(bench.feed.waiting) == [0, 1]
    assert bench.feed.overdue(1.0) == []
    assert bench.feed.find(1) == b"one"
    bench.cache.settle(0)
    bench.feed.fetch()
    assert bench.cache.asked == [0]


def test_a_piece_that_failed_is_asked_for_again_only_after_a_pause() -> None:
    bench = Bench()
    bench.want(1)
    bench.cache.settle(1, ERROR)
    assert bench.told == [(1, ERROR)]
    bench.want(1)
    assert bench.feed.overdue(FAILURE_PAUSE) == []
    assert bench.cache.asked == [1]
    assert bench.feed.overdue(FAILURE_PAUSE + 1) == [1]
    bench.want(1)
    assert bench.cache.asked == [1, 1]


def test_a_closed_stock_hears_of_nothing() -> None:
    bench = Bench()
    bench.want(1, 2)
    bench.feed.close()
    assert bench.cache.waiters == {}


def test_a_piece_on_a_warm_disk_is_never_asked_for_and_on_a_cold_one_it_is() -> None:
    bench = Bench()
    bench.cache.warm_files.add(1)
    bench.cache.cold_files.add(2)
    bench.want(1, 2)
    assert bench.cache.asked == [2]
    assert list(bench.feed.waiting) == [2]


def test_a_piece_that_came_is_held_no_longer_than_until_it_is_on_disk() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1)
    bench.cache.settle(0)
    bench.feed.fetch()
    assert bench.feed.find(0) is not None
    assert bench.cache.asked == [0]
    bench.cache.warm_files.add(0)
    bench.feed.fetch()
    assert bench.feed.find(0) is None
    assert bench.cache.asked == [0, 1]


def test_a_piece_in_line_that_others_brought_to_the_disk_leaves_the_line() -> None:
    bench = Bench(20, 16 * MIB)
    bench.want(0, 1)
    bench.cache.warm_files.add(1)
    assert bench.feed.overdue(1.0) == []
    assert list(bench.feed.waiting) == [0]


def test_what_follows_a_cold_piece_is_read_ahead_for_a_peer_that_has_taken_much() -> None:
    bench = Bench(20, MIB)
    bench.want(9)
    assert bench.cache.ahead == []
    bench.taken = 8 * MIB
    bench.want(1)
    assert bench.cache.asked == [9, 1]
    assert bench.cache.ahead == list(range(1, 9))


def test_what_follows_is_read_ahead_for_a_peer_that_goes_from_front_to_back() -> None:
    bench = Bench(20, MIB)
    bench.cache.memory.update(dict.fromkeys(range(6), b"warm"))
    bench.taken = 8 * MIB
    for index in range(6):
        bench.want(index)
        assert bench.feed.find(index) == b"warm"
        bench.feed.fetch()
    assert bench.cache.asked == []
    assert bench.cache.ahead[:3] == [4, 5, 6]


# -- what S3 is read for one peer


def test_what_s3_is_not_read_for_any_more_is_turned_down_soon() -> None:
    bench = Bench(20, MIB)
    bench.may_read = 2 * MIB
    bench.want(0, 1, 2)
    assert bench.cache.asked == [0, 1]
    assert bench.feed.overdue(0.5) == [2]
    # What others have read is had all the same.
    bench.cache.cold_files.add(3)
    bench.want(3)
    assert bench.cache.asked == [0, 1, 3]
    bench.cache.settle(0)
    bench.cache.settle(1)
    bench.feed.close()


def test_what_is_read_ahead_counts_too() -> None:
    bench = Bench(20, MIB)
    bench.taken = 8 * MIB
    bench.want(9)
    assert sum(bench.read) == MIB + len(bench.cache.ahead) * MIB
    bench.may_read = 0
    bench.want(1)
    assert len(bench.cache.ahead) == 8


# -- all peers together


def test_all_stocks_together_hold_no_more_than_the_shelf() -> None:
    held = HeldPieces(6 * MIB)
    first, second = Bench(20, 2 * MIB, held), Bench(20, 2 * MIB, held)
    first.want(0, 1)
    second.want(2)
    assert (first.cache.asked, second.cache.asked) == ([0, 1], [])
    first.cache.settle(0)
    first.unwant(0)
    assert second.feed.overdue(1.0) == []
    assert second.cache.asked == []  # the first one has not let go yet
    first.feed.fetch()
    assert second.feed.overdue(2.0) == []
    assert second.cache.asked == [2]
    first.feed.close()
    second.feed.close()
    assert held.used == 0


def test_a_network_that_reads_slowly_leaves_room_for_others() -> None:
    held = HeldPieces(32 * MIB)
    crowd = [Bench(2000, MIB, held, b"crowd") for _ in range(50)]
    for number, bench in enumerate(crowd):
        bench.want(*range(8 * number, 8 * number + 8))
    assert held.used == 16 * MIB
    other = Bench(2000, MIB, held, b"other")
    other.want(*range(1000, 1008))
    assert other.cache.asked == list(range(1000, 1008))
    # Each further network finds some, too.
    for number in range(4):
        one = Bench(2000, MIB, held, b"one %d" % number)
        one.want(1100 + number)
        assert one.cache.asked == [1100 + number]
    assert held.used <= 32 * MIB
    for bench in crowd:
        bench.feed.close()


def test_a_piece_that_several_stocks_wait_for_takes_room_once() -> None:
    held = HeldPieces(5 * MIB)
    benches = [Bench(20, 4 * MIB, held) for _ in range(3)]
    for bench in benches:
        bench.want(7)
        assert bench.cache.asked == [7]
    assert held.used == 4 * MIB
    for bench in benches:
        bench.cache.settle(7, ERROR)
    assert held.used == 0


def test_room_is_given_back_when_the_same_bytes_have_another_etag_meanwhile() -> None:
    held = HeldPieces()
    bench = Bench(held=held)
    bench.want(1, 2, 3)
    bench.cache.settle(1)
    before = bench.torrent
    again = replace(before.pinned, etag='"f"')
    before.move(Torrent(before.info, again, "build"))
    bench.unwant(1)
    bench.feed.fetch()
    bench.cache.settle(2, ERROR)
    bench.feed.close()
    assert held.used == 0


def test_a_piece_larger_than_the_shelf_gets_it_for_itself() -> None:
    held = HeldPieces(MIB)
    first, second = Bench(20, 16 * MIB, held), Bench(20, 16 * MIB, held)
    first.want(0)
    second.want(1)
    assert (first.cache.asked, second.cache.asked) == ([0], [])
    first.unwant(0)
    first.cache.settle(0)
    second.feed.fetch()
    assert second.cache.asked == [1]


@given(
    st.lists(
        st.tuples(st.sampled_from(["want", "unwant", "settle", "fail", "fetch"]), st.integers(0, 9))
    )
)
def test_the_shelf_is_empty_when_all_stocks_are_closed(steps: list[tuple[str, int]]) -> None:
    held = HeldPieces(3)
    benches = [Bench(10, 1, held), Bench(10, 1, held)]
    for number, (step, index) in enumerate(steps):
        bench = benches[number % 2]
        if step == "want":
            bench.want(index)
        elif step == "unwant" and index in bench.wanted:
            bench.unwant(index)
        elif step in ("settle", "fail") and index in bench.cache.waiters:
            bench.cache.settle(index, ERROR if step == "fail" else None)
        else:
            bench.feed.fetch()
        assert held.used <= 3
    for bench in benches:
        bench.feed.close()
    assert held.used == 0
