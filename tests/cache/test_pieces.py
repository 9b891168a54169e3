import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from seeder.cache import files, pieces, reading
from seeder.cache.memory import Piece
from seeder.errors import (
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    PieceMismatch,
    SeederError,
    StorageError,
)
from seeder.units import KIB
from tests.cache.fakes import (
    FakeSource,
    FakeTorrent,
    Settings,
    Stand,
    bytes_in,
    evictions,
    gated,
    piece_file,
    running,
)

Call: TypeAlias = tuple[int, Piece | None, SeederError | None]


class Calls:
    """A waiter that writes down every call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.called = trio.Event()

    def __call__(self, index: int, piece: Piece | None, error: SeederError | None) -> None:
        self.calls.append((index, piece, error))
        self.called.set()


async def test_many_waiters_share_one_read_and_each_gets_the_piece_once(tmp_path: Path) -> None:
    torrent, waiters = FakeTorrent(), [Calls() for _ in range(50)]
    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        for waiter in waiters[:25]:
            stand.cache.request(torrent, 3, waiter)
        await trio.testing.wait_all_tasks_blocked()
        assert stand.cache.statistics().fetching == 1
        for waiter in waiters[25:]:
            stand.cache.request(torrent, 3, waiter)
        stand.source.gate.set()
        await waiters[-1].called.wait()
        assert stand.source.reads == [3]
        assert stand.cache.statistics().misses == 1
        assert stand.cache.statistics().fetching == 0
    for waiter in waiters:
        assert waiter.calls == [(3, torrent.piece(3), None)]


async def test_equal_torrents_share_a_read_and_other_pieces_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:
        stand.source.gate = trio.Event()
        for torrent in (FakeTorrent("a"), FakeTorrent("a"), FakeTorrent("b")):
            for index in (0, 1):
                nursery.start_soon(stand.get, torrent, index)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(stand.source.reads) == [0, 0, 1, 1]
        stand.source.gate.set()


async def test_a_request_never_calls_the_waiter_from_inside(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        for expected_reads in ([0], [0]):
            waiter = Calls()
            stand.cache.request(torrent, 0, waiter)
            assert waiter.calls == []
            await waiter.called.wait()
            assert waiter.calls == [(0, torrent.piece(0), None)]
            assert stand.source.reads == expected_reads


async def test_peek_finds_only_what_memory_holds_and_renews_it(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=200) as stand:
        assert stand.cache.peek(torrent, 0) is None
        fetched = [await stand.get(torrent, index) for index in (0, 1)]
        assert stand.cache.peek(torrent, 0) is fetched[0]
        await stand.get(torrent, 2)
        assert stand.cache.peek(torrent, 0) is fetched[0]
        assert stand.cache.peek(torrent, 1) is None
        statistics = stand.cache.statistics()
        assert (statistics.memory_hits, statistics.misses) == (2, 3)
        assert statistics.memory_bytes == 200


async def test_a_piece_larger_than_memory_gets_through_and_is_not_kept_there(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=99) as stand:
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.cache.peek(torrent, 0) is None
        assert stand.cache.statistics().memory_bytes == 0
        await stand.idle()
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0]
        assert stand.cache.statistics().disk_hits == 1


async def test_without_memory_and_disk_every_piece_comes_from_the_origin(tmp_path: Path) -> None:
    torrent, nowhere = FakeTorrent(), tmp_path / "never-made"
    async with running(nowhere, memory=0, disk=0) as stand:
        for _ in range(2):
            assert await stand.get(torrent, 9) == torrent.piece(9)
        assert stand.source.reads == [9, 9]
        await stand.drop(torrent.cache_id)
    assert not nowhere.exists()


async def test_the_short_last_piece_is_served_from_every_tier(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=950)
    async with running(tmp_path, memory=100) as stand:
        assert await stand.get(torrent, 9) == torrent.piece(9)
        assert stand.cache.peek(torrent, 9) == torrent.piece(9)
        await stand.get(torrent, 0)
        await stand.idle()
        assert await stand.get(torrent, 9) == torrent.piece(9)
        assert stand.source.reads == [9, 0]


@pytest.mark.parametrize("index", [-1, 10])
async def test_a_piece_outside_the_torrent_is_the_callers_mistake(
    tmp_path: Path, index: int
) -> None:
    async with running(tmp_path) as stand:
        with pytest.raises(IndexError):
            stand.cache.request(FakeTorrent(), index, Calls())
        with pytest.raises(IndexError):
            await stand.get(FakeTorrent(), index)
        assert stand.cache.statistics().fetching == 0


async def test_a_cache_id_that_could_be_a_path_is_refused(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    torrent.cache_id = "../escape-100"
    async with running(tmp_path) as stand:
        with pytest.raises(ValueError, match="cache id"):
            stand.cache.request(torrent, 0, Calls())
        with pytest.raises(ValueError, match="cache id"):
            await stand.cache.keep(torrent.cache_id, 0, b"x")
        assert stand.cache.statistics().fetching == 0


async def test_without_a_disk_memory_keeps_what_it_has_room_for(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    size = len(torrent.piece(0))
    async with running(tmp_path, memory=2 * size, disk=0) as stand:
        for index in range(3):
            assert not await stand.cache.keep(torrent.cache_id, index, torrent.piece(index))
        assert stand.cache.peek(torrent, 0) == torrent.piece(0)
        assert stand.cache.peek(torrent, 1) == torrent.piece(1)
        assert stand.cache.peek(torrent, 2) is None
        assert stand.cache.statistics().memory_evictions == 0


async def test_a_forgotten_waiter_is_not_called_and_the_fetch_goes_on(tmp_path: Path) -> None:
    torrent, leaving, staying = FakeTorrent(), Calls(), Calls()
    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        stand.cache.request(torrent, 0, leaving)
        stand.cache.request(torrent, 0, staying)
        stand.cache.request(torrent, 1, leaving)
        await trio.testing.wait_all_tasks_blocked()
        stand.cache.forget(torrent, 0, leaving)
        stand.cache.forget(torrent, 1, leaving)
        stand.cache.forget(torrent, 1, leaving)
        stand.cache.forget(torrent, 2, leaving)
        stand.source.gate.set()
        await staying.called.wait()
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert sorted(stand.source.reads) == [0, 1]
    assert leaving.calls == []
    assert staying.calls == [(0, torrent.piece(0), None)]


async def test_a_waiter_may_forget_another_while_they_are_being_called(tmp_path: Path) -> None:
    torrent, other = FakeTorrent(), Calls()
    async with running(tmp_path) as stand:

        def first(index: int, _: Piece | None, __: SeederError | None) -> None:
            stand.cache.forget(torrent, index, other)

        stand.cache.request(torrent, 0, first)
        stand.cache.request(torrent, 0, other)
        await stand.get(torrent, 0)
    assert other.calls == []


async def test_a_waiter_may_ask_again_from_inside_its_call(tmp_path: Path) -> None:
    torrent, again = FakeTorrent(), Calls()
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [OriginUnreachable("down")]
        seen: list[SeederError | None] = []

        def first(index: int, _: Piece | None, error: SeederError | None) -> None:
            seen.append(error)
            stand.cache.request(torrent, index, again)
            assert again.calls == []

        stand.cache.request(torrent, 0, first)
        await again.called.wait()
    assert [str(error) for error in seen] == ["down"]
    assert again.calls == [(0, torrent.piece(0), None)]


async def test_a_waiter_that_fails_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent, other = FakeTorrent(), Calls()

    def failing(_: int, __: Piece | None, ___: SeederError | None) -> None:
        raise RuntimeError("broken on purpose")

    async with running(tmp_path) as stand:
        stand.cache.request(torrent, 0, failing)
        stand.cache.request(torrent, 0, other)
        await other.called.wait()
        assert await stand.get(torrent, 1) == torrent.piece(1)
    assert other.calls == [(0, torrent.piece(0), None)]
    assert "broken on purpose" in caplog.text


async def test_an_error_reaches_every_waiter_and_the_next_request_tries_again(
    tmp_path: Path,
) -> None:
    torrent, waiters = FakeTorrent(), [Calls(), Calls()]
    error = OriginUnreachable("no answer", away=True)
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [error]
        for waiter in waiters:
            stand.cache.request(torrent, 0, waiter)
        await waiters[1].called.wait()
        assert [waiter.calls for waiter in waiters] == [[(0, None, error)]] * 2
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.faults == []


SIZES = [pytest.param(100, id="hashed inline"), pytest.param(300 * KIB, id="hashed in a thread")]


@pytest.mark.parametrize("piece_length", SIZES)
@pytest.mark.parametrize("spoil", [lambda piece: b"!" + piece[1:], lambda piece: piece[:-1]])
async def test_a_piece_that_is_wrong_once_is_read_again(
    tmp_path: Path, piece_length: int, spoil: Callable[[bytes], bytes]
) -> None:
    torrent = FakeTorrent(size=2 * piece_length, piece_length=piece_length)
    async with running(tmp_path) as stand:
        stand.source.answers[1] = [spoil(torrent.piece(1))]
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert stand.source.reads == [1, 1]
        assert stand.faults == []
        assert stand.cache.statistics().origin_mismatches == 1


@pytest.mark.parametrize("piece_length", SIZES)
async def test_a_piece_that_is_wrong_twice_is_a_fault_told_once_and_kept_nowhere(
    tmp_path: Path, piece_length: int
) -> None:
    torrent = FakeTorrent(size=2 * piece_length, piece_length=piece_length)
    lie = bytes(piece_length)
    waiters = [Calls(), Calls()]
    async with running(tmp_path, memory=10**6, disk=10**6) as stand:
        stand.source.answers[1] = [lie, lie]
        for waiter in waiters:
            stand.cache.request(torrent, 1, waiter)
        await waiters[1].called.wait()
        [(told, fault)] = stand.faults
        assert told is torrent
        assert isinstance(fault, PieceMismatch)
        assert "piece 1 came wrong from S3 twice" in str(fault)
        assert [waiter.calls for waiter in waiters] == [[(1, None, fault)]] * 2
        assert stand.source.reads == [1, 1]
        assert stand.cache.peek(torrent, 1) is None
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert bytes_in(tmp_path) == 0
        assert stand.cache.statistics().origin_mismatches == 2


async def test_whoever_pays_hears_of_what_s3_did_not_send_and_pays_for_what_came_wrong(
    tmp_path: Path,
) -> None:
    torrent, unread, waiter = FakeTorrent(), list[int](), Calls()
    no_answer = OriginUnreachable("no answer")
    async with running(tmp_path) as stand:
        stand.source.answers = {0: [b"wrong"] * 2, 1: [no_answer], 3: [no_answer]}
        for index in range(3):
            waiter.called = trio.Event()
            stand.cache.request(torrent, index, waiter, unread.append)
            await waiter.called.wait()
        assert [type(error) for *_, error in waiter.calls] == [
            PieceMismatch,
            OriginUnreachable,
            type(None),
        ]
        assert unread == [100]
        assert stand.cache.read_ahead(torrent, [3], unread.append) == 100
        await stand.idle()
        assert unread == [100, 100]


async def test_no_lie_is_served_even_of_the_right_length(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [torrent.piece(1), torrent.piece(2)]
        with pytest.raises(PieceMismatch):
            await stand.get(torrent, 0)


@pytest.mark.parametrize(
    "error",
    [OriginFault("200 with the whole object"), OriginUnreachable("1xx without end")],
    ids=["fault", "unreachable"],
)
async def test_what_one_object_is_not_read_for_is_its_fault(
    tmp_path: Path, error: OriginError
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [error]
        with pytest.raises(type(error)):
            await stand.get(torrent, 0)
        assert stand.faults == [(torrent, error)]


async def test_an_origin_that_is_away_after_a_lie_is_no_fault(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [bytes(100), OriginUnreachable("gone", away=True)]
        with pytest.raises(OriginUnreachable):
            await stand.get(torrent, 0)
        assert stand.faults == []


async def test_a_changed_object_is_told_once_for_all_reads_under_way_before_the_waiters(
    tmp_path: Path,
) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    order: list[str] = []
    source = FakeSource()
    stand = Stand(Settings(tmp_path), source)
    stand.cache = stand.open(lambda *_: order.append("fault"))
    for index in range(5):
        source.answers[index] = [ObjectChanged("412")]

    def waiter(_: int, __: Piece | None, error: SeederError | None) -> None:
        assert isinstance(error, ObjectChanged)
        order.append("waiter")

    async with trio.open_nursery() as nursery:
        await nursery.start(stand.cache.run)
        source.gate = trio.Event()
        for index in range(4):
            stand.cache.request(torrent, index, waiter)
        stand.cache.request(other, 4, waiter)
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert order.count("waiter") == 5
    assert order.count("fault") == 2
    assert order[0] == "fault"


@pytest.mark.parametrize("fault", [ObjectChanged, ObjectMissing])
async def test_a_fault_is_told_anew_to_whoever_asks_after_it(
    tmp_path: Path, fault: type[OriginError]
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        for told in (1, 2):
            stand.source.answers[0] = [fault("412 or 404")]
            with pytest.raises(fault):
                await stand.get(torrent, 0)
            assert len(stand.faults) == told


async def test_a_change_is_told_even_after_a_fault_of_the_same_torrent(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:
        stand.source.gate = trio.Event()
        stand.source.answers[0] = [b"lie", b"lie"]
        stand.source.answers[1] = [b"lie", ObjectChanged("412")]

        async def fail(index: int) -> None:
            with pytest.raises((PieceMismatch, ObjectChanged)):
                await stand.get(torrent, index)

        nursery.start_soon(fail, 0)
        nursery.start_soon(fail, 1)
        await trio.testing.wait_all_tasks_blocked()
        stand.source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert {type(error) for _, error in stand.faults} == {PieceMismatch, ObjectChanged}


async def test_a_large_piece_is_hashed_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = FakeTorrent("a", size=256 * KIB, piece_length=256 * KIB)
    threads: list[threading.Thread] = []
    hash_pieces = reading._hash_pieces

    def spy(pieces: list[bytearray]) -> list[bytes]:
        threads.append(threading.current_thread())
        return hash_pieces(pieces)

    monkeypatch.setattr(reading, "_hash_pieces", spy)
    async with running(tmp_path) as stand:
        await stand.get(large, 0)
    assert [thread is threading.main_thread() for thread in threads] == [False]


async def test_a_piece_on_its_way_to_the_disk_is_not_read_from_the_origin_again(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            await stand.get(torrent, 1)
            assert await stand.get(torrent, 0) == torrent.piece(0)
            assert await stand.get(torrent, 1) == torrent.piece(1)
            assert stand.source.reads == [0, 1]
            assert stand.cache.statistics().queued_writes == 2


async def test_dropping_empties_both_tiers_of_that_torrent_only(tmp_path: Path) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    async with running(tmp_path) as stand:
        for index in range(3):
            await stand.get(torrent, index)
            await stand.get(other, index)
        await stand.idle()
        await stand.drop(torrent.cache_id)
        assert stand.cache.peek(torrent, 0) is None
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert not (tmp_path / torrent.cache_id).exists()
        assert stand.cache.peek(other, 0) is not None
        assert stand.on_disk(other.cache_id) == {0, 1, 2}
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 300
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads.count(0) == 3


async def test_a_piece_fetched_during_a_drop_is_served_but_not_kept(tmp_path: Path) -> None:
    torrent, waiter = FakeTorrent(), Calls()
    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        stand.cache.request(torrent, 0, waiter)
        await trio.testing.wait_all_tasks_blocked()
        await stand.drop(torrent.cache_id)
        stand.source.gate.set()
        await waiter.called.wait()
        assert waiter.calls == [(0, torrent.piece(0), None)]
        await stand.idle()
        assert stand.cache.peek(torrent, 0) is None
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert bytes_in(tmp_path) == 0
        await stand.get(torrent, 0)
        assert stand.cache.peek(torrent, 0) is not None


async def test_a_piece_written_during_a_drop_is_gone_when_the_drop_returns(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            await stand.get(torrent, 1)
            nursery.start_soon(stand.drop, torrent.cache_id)
            await trio.testing.wait_all_tasks_blocked()
            assert stand.cache.statistics().queued_writes == 0
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 0


async def test_a_piece_fetched_anew_after_a_drop_during_its_write_stays(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            nursery.start_soon(stand.drop, torrent.cache_id)
            await trio.testing.wait_all_tasks_blocked()
            await stand.get(torrent, 0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}
        assert piece_file(tmp_path, torrent, 0).read_bytes() == torrent.piece(0)
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 100
        assert stand.source.reads == [0, 0]


async def test_whoever_asks_before_the_start_or_after_the_end_hears_so(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    stand = Stand(Settings(tmp_path))
    for _ in range(2):
        waiter, leaving = Calls(), Calls()
        stand.cache.request(torrent, 0, waiter)
        stand.cache.request(torrent, 0, leaving)
        stand.cache.forget(torrent, 0, leaving)
        assert waiter.calls == []
        await waiter.called.wait()
        [(index, piece, error)] = waiter.calls
        assert (index, piece) == (0, None)
        assert isinstance(error, StorageError)
        assert leaving.calls == []
        with pytest.raises(StorageError, match="not running"):
            await stand.get(torrent, 0)
        assert not await stand.cache.keep(torrent.cache_id, 0, torrent.piece(0))
        await stand.drop(torrent.cache_id)
        async with trio.open_nursery() as nursery:
            await nursery.start(stand.cache.run)
            nursery.cancel_scope.cancel()
    assert stand.source.reads == []


async def test_an_error_that_nobody_foresaw_ends_one_read_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent, other, calls = FakeTorrent(), FakeTorrent("b"), Calls()
    async with running(tmp_path) as stand:
        stand.source.answers[0] = [ZeroDivisionError("a bug")]
        stand.cache.request(torrent, 0, calls)
        stand.cache.request(other, 1, calls)
        await trio.testing.wait_all_tasks_blocked()
        assert {index: piece for index, piece, _ in calls.calls} == {0: None, 1: other.piece(1)}
        [error] = [error for _, _, error in calls.calls if error is not None]
        assert isinstance(error, StorageError)
        assert "a bug" in caplog.text
        assert await stand.get(torrent, 0) == torrent.piece(0)


@pytest.mark.parametrize("fault", [RuntimeError("can't start new thread"), KeyError("a bug")])
async def test_pieces_that_can_not_be_hashed_are_nobody_elses_fault(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "HASHED_INLINE", 1)
    faults, run_sync = [fault], trio.to_thread.run_sync

    async def fail_once(function: Any, *arguments: Any, **options: Any) -> Any:
        if faults and function is reading._hash_pieces:
            raise faults.pop()
        return await run_sync(function, *arguments, **options)

    torrent, calls = FakeTorrent(), Calls()
    async with running(tmp_path) as stand:
        monkeypatch.setattr(trio.to_thread, "run_sync", fail_once)
        stand.cache.request(torrent, 0, calls)
        with trio.fail_after(60):
            while not calls.calls:
                await trio.lowlevel.checkpoint()
        assert isinstance(calls.calls[0][2], StorageError)
        assert await stand.get(torrent, 0) == torrent.piece(0)


async def test_a_piece_that_can_not_be_written_by_a_fault_of_ours_is_dropped_and_the_next_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torrent, write, faults = FakeTorrent(), files.write_piece, [KeyError("a bug")]

    def fail_once(*arguments: Any) -> int:
        if faults:
            raise faults.pop()
        return write(*arguments)

    async with running(tmp_path) as stand:
        monkeypatch.setattr(files, "write_piece", fail_once)
        assert not await stand.cache.keep(torrent.cache_id, 0, torrent.piece(0))
        assert await stand.cache.keep(torrent.cache_id, 1, torrent.piece(1))
        assert "internal error" in caplog.text


async def read_ahead(stand: Stand, torrent: FakeTorrent, indices: range) -> list[tuple[int, int]]:
    """Have pieces read ahead, wait until that is done, and return the GETs."""
    before = len(stand.source.gets)
    stand.cache.read_ahead(torrent, indices)
    await trio.testing.wait_all_tasks_blocked()
    return sorted(stand.source.gets[before:])


async def test_what_is_read_ahead_comes_in_one_get_with_what_was_asked_for(tmp_path: Path) -> None:
    torrent, calls = FakeTorrent(), Calls()
    async with running(tmp_path) as stand:
        stand.cache.request(torrent, 3, calls)
        assert await read_ahead(stand, torrent, range(6)) == [(0, 6)]
        assert stand.cache.peek(torrent, 5) == torrent.piece(5)
        assert [index for index, _, _ in calls.calls] == [3]


async def test_what_is_there_or_on_its_way_is_not_read_ahead_again(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 1)
        await stand.idle()
        assert await read_ahead(stand, torrent, range(3)) == [(0, 1), (2, 1)]
        stand.source.gate = trio.Event()
        assert await read_ahead(stand, torrent, range(2, 6)) == [(3, 3)]
        assert await read_ahead(stand, torrent, range(6)) == []
        stand.source.gate.set()


async def test_who_asks_for_what_is_being_read_ahead_joins_in(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.cache.read_ahead(torrent, range(4))
        assert await stand.get(torrent, 2) == torrent.piece(2)
        assert stand.source.gets == [(0, 4)]


async def test_nothing_is_read_ahead_in_the_place_of_something_else(tmp_path: Path) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    async with running(tmp_path, memory=1000, disk=0) as stand:
        for index in range(4):
            await stand.get(other, index)
        stand.source.gate = trio.Event()
        stand.cache.request(torrent, 9, Calls())
        assert await read_ahead(stand, torrent, range(10)) == [(0, 5), (9, 1)]
        stand.source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert evictions(stand.cache) == 0
        assert await read_ahead(stand, torrent, range(10)) == []


async def test_nothing_is_read_ahead_of_an_object_that_the_cache_cannot_hold(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=999, disk=999) as stand:
        assert await read_ahead(stand, torrent, range(3)) == []


async def test_only_so_much_is_read_ahead_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AHEAD_AT_MOST", 300)
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        assert await read_ahead(stand, torrent, range(10)) == [(0, 3)]
        stand.source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await read_ahead(stand, torrent, range(10)) == [(3, 3)]


async def test_nothing_is_read_ahead_for_a_disk_that_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AHEAD_AT_LEAST", 250)
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            assert await read_ahead(stand, torrent, range(4)) == [(1, 1)]
            assert await read_ahead(stand, torrent, range(4)) == []
        await stand.idle()
        assert await read_ahead(stand, torrent, range(4)) == [(2, 2)]
