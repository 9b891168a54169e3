"""Which bytes of a download were looked at: each once, in whatever order they are told."""

from hypothesis import given
from hypothesis import strategies as st

from seeder.tracker.downloads import MOST_GAPS, DownloadState, look_at

ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda ends: tuple(sorted(ends)))


@given(
    first=st.integers(0, 40),
    steps=st.lists(st.tuples(st.sampled_from(["take", "skip"]), ranges), max_size=12),
)
def test_each_byte_is_looked_at_once(first: int, steps: list[tuple[str, tuple[int, int]]]) -> None:
    download, highest, claimed = DownloadState(), first, 0
    seen: set[int] = set()
    for what, (low, high) in steps:
        if what == "skip" and high > highest:
            given_up = download.skip(highest, high)
            if given_up:
                return  # the lowest gap counts as looked at from then on
            highest = high
            continue
        base = highest - claimed - download.missing
        fresh, highest = look_at(download, base, highest, low, high)
        assert fresh == len(set(range(low, high)) - seen)
        claimed += fresh
        seen |= set(range(low, high))
        assert claimed == len(seen)
        assert download.gaps == sorted(download.gaps)


def test_of_too_many_gaps_the_lowest_is_given_up() -> None:
    download = DownloadState()
    given_up = [download.skip(10 * number, 10 * number + 5) for number in range(MOST_GAPS + 1)]
    assert given_up == [0] * MOST_GAPS + [5]
    assert download.gaps[0] == (10, 15)
    assert download.skip(10 * MOST_GAPS + 5, 10 * MOST_GAPS + 8) == 0
    assert download.gaps[-1] == (10 * MOST_GAPS, 10 * MOST_GAPS + 8)
    assert download.missing == 5 * MOST_GAPS + 3
