"""Of what a swarm's clients say that they sent, no more counts than others can have received."""

from dataclasses import dataclass, field

from seeder.tracker.group_claims import GroupClaims

ADDRESS, OUTSIDE = bytes((10, 1, 0, 1)), bytes((192, 0, 2, 1))


@dataclass
class Counts:
    down: int = 0
    up: int = 0

    def claimed(self, *, downloaded: int = 0, uploaded: int = 0) -> None:
        self.down += downloaded
        self.up += uploaded


@dataclass
class Counter:
    counts: Counts = field(default_factory=Counts)

    def at(self, address: bytes) -> Counts | None:
        return self.counts if address == ADDRESS else None


def test_uploads_count_up_to_what_was_received_and_what_may_have_been() -> None:
    counter = Counter()
    claims = GroupClaims(counter)
    claims.downloaded(ADDRESS, 100)
    claims.uploaded(ADDRESS, 90, 20)
    assert counter.counts.up == 90
    claims.uploaded(ADDRESS, 90, 20)
    assert counter.counts.up == 120
    claims.uploaded(ADDRESS, 90, 20)
    assert counter.counts == Counts(down=100, up=120)


def test_who_is_in_no_group_is_not_counted_and_takes_from_nobody() -> None:
    counter = Counter()
    claims = GroupClaims(counter)
    claims.downloaded(ADDRESS, 100)
    claims.uploaded(OUTSIDE, 100, 0)
    claims.uploaded(ADDRESS, 100, 0)
    assert counter.counts == Counts(down=100, up=100)


def test_other_groups_go_on_with_what_is_left() -> None:
    first, second = Counter(), Counter()
    claims = GroupClaims(first)
    claims.downloaded(ADDRESS, 100)
    claims.uploaded(ADDRESS, 60, 0)
    claims.counter = second
    claims.uploaded(ADDRESS, 60, 0)
    assert (first.counts.up, second.counts.up) == (60, 40)
