from seeder.cache.memory import MemoryTier

A, B = "a", "b"


def test_peeking_renews_a_piece() -> None:
    memory = MemoryTier(2)
    memory.put((A, 0), b"0")
    memory.put((A, 1), b"1")
    assert memory.get((A, 0)) == b"0"
    assert memory.put((A, 2), b"2") == [((A, 1), b"1")]
    assert memory.get((A, 1)) is None
    assert (memory.hits, memory.evictions) == (1, 1)


def test_a_look_without_a_use_renews_nothing() -> None:
    memory = MemoryTier(2)
    memory.put((A, 0), b"0")
    memory.put((A, 1), b"1")
    assert (A, 0) in memory
    assert memory.put((A, 2), b"2") == [((A, 0), b"0")]


def test_a_piece_over_the_budget_is_no_eviction() -> None:
    memory = MemoryTier(2)
    assert memory.put((A, 0), b"123") == [((A, 0), b"123")]
    assert (len(memory), memory.used, memory.evictions) == (0, 0, 0)


def test_the_pieces_of_a_torrent_are_those_that_are_held() -> None:
    memory = MemoryTier(3)
    for index in range(4):
        memory.put((A, index), b"1")
    assert memory.pieces_of(A) == {1, 2, 3}
    memory.put((B, 7), b"12")
    assert memory.pieces_of(A) == {3}
    assert memory.pieces_of(B) == {7}
    memory.put((B, 7), b"1234")
    assert memory.pieces_of(A) == {3}
    assert not memory.pieces_of(B)
    memory.drop(A)
    memory.drop(B)
    assert not memory.pieces_of(A)
    assert not memory._indices


def test_dropping_one_torrent_leaves_the_other() -> None:
    memory = MemoryTier(10)
    for cache_id in (A, B):
        for index in range(2):
            memory.put((cache_id, index), b"12")
    memory.drop(A)
    assert memory.used == 4
    assert memory.get((A, 0)) is None
    assert memory.get((B, 1)) == b"12"
