"""What is known of the files, told apart from the files themselves."""

from seeder.cache.index import PieceIndex

A, B, C = ("a-1", 0), ("a-1", 1), ("b-1", 0)


def test_files_are_known_by_torrent_with_the_least_recently_used_first() -> None:
    index = PieceIndex(100)
    assert [index.add(key, 30) for key in (A, B, C)] == [[], [], []]
    assert index.touch(A)
    assert list(index) == [B, C, A]
    assert index.pieces_of("a-1") == {0, 1}
    assert index.pieces_of("b-1") == {0}
    assert (index.used, index.has_room(10), index.has_room(11)) == (90, True, False)
    assert index.remove(B) == 30
    assert index.remove(B) is None
    assert not index.touch(B)
    assert index.pieces_of("a-1") == {0}
    assert index.evictions == 0


def test_whatever_leaves_is_forgotten_altogether() -> None:
    index = PieceIndex(100)
    for key in (A, B, C):
        index.add(key, 30)
        index.verified[key] = 1
        index.stale.add(key)
    assert index.make_room(30, spare=lambda key: key == A) == [(B, 30)]
    assert index.add(("large-1", 7), 101) == [(("large-1", 7), 101)]
    assert index.add(("d-1", 0), 71) == [(C, 30), (A, 30)]
    assert (index.verified, index.stale) == ({}, set())
    assert not any(index.pieces_of(cache_id) for cache_id in ("a-1", "b-1", "large-1"))
    assert (list(index), index.evictions) == ([("d-1", 0)], 4)
