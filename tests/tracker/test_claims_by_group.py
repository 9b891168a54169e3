"""What peers claim, by the group of their address: each byte once, and uploads within reason."""

import ipaddress
from urllib.parse import urlencode

import pytest

from seeder.ledger.groups import GroupCounts, GroupLedger
from seeder.net.groups import OTHERS, Groups
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest, parse_announce
from seeder.tracker.datagrams import DatagramAnnounce, parse_datagram
from tests.tracker.announcing import HASH, SIZE, Tracker, packed, peer_id

A, B, OUTSIDE = "10.1.0.1", "10.2.0.1", "192.0.2.1"
STARTED, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.STOPPED


class Counted:
    """A tracker whose claims are counted by group."""

    def __init__(self, *, grouped: bool = True) -> None:
        self.ledger = GroupLedger(
            Groups(
                {
                    "a": [ipaddress.ip_network("10.1.0.0/16")],
                    "b": [ipaddress.ip_network("10.2.0.0/16")],
                }
            )
            if grouped
            else None
        )
        self.tracker = Tracker(groups=self.ledger.groups, by_group=self.ledger)

    def announce(
        self,
        name: str,
        address: str,
        *,
        down: int = 0,
        up: int = 0,
        event: AnnounceEvent = AnnounceEvent.NONE,
    ) -> None:
        self.tracker.now += 10
        request = AnnounceRequest(
            HASH, peer_id(name), 2000, down, SIZE - down, event, key=b"k", uploaded=up
        )
        self.tracker.swarms.announce(request, packed(address), None, self.tracker.now)

    def of(self, group: str) -> tuple[int, int]:
        """Return the bytes downloaded and uploaded that a group claims."""
        counts = self.ledger.counts.get(group, GroupCounts())
        return counts.downloaded_claimed_bytes, counts.uploaded_claimed_bytes


def test_growth_is_counted_where_the_announce_comes_from() -> None:
    counted = Counted()
    counted.announce("one", A, event=STARTED)
    counted.announce("two", B, event=STARTED)
    counted.announce("out", OUTSIDE, event=STARTED)
    counted.announce("one", A, down=400, up=0)
    counted.announce("two", B, down=700, up=250)
    counted.announce("two", B, down=700, up=250)
    counted.announce("one", A, down=SIZE, up=100, event=STOPPED)
    counted.announce("out", OUTSIDE, down=5, up=1)
    assert counted.of("a") == (SIZE, 100)
    assert counted.of("b") == (700, 250)
    assert counted.of(OTHERS) == (5, 1)
    assert counted.tracker.ledger.delivered == SIZE + 705


def test_what_was_at_first_sight_is_not_counted_nor_what_a_new_start_takes_back() -> None:
    counted = Counted()
    counted.announce("one", A, down=500, up=5000)
    assert counted.of("a") == (0, 0)
    counted.announce("one", A, down=600, up=5010)
    assert counted.of("a") == (100, 10)
    counted.announce("one", A, down=0, up=0, event=STARTED)
    counted.announce("one", A, down=50, up=20)
    assert counted.of("a") == (150, 30)


def test_all_together_upload_hardly_more_than_they_download() -> None:
    counted = Counted()
    counted.announce("liar", A, event=STARTED)
    counted.announce("two", B, event=STARTED)
    for number in range(1, 50):
        counted.announce("liar", A, up=number * 10**15)
    # As much as both may have downloaded since they announced.
    assert counted.of("a") == (0, 2 * SIZE)
    counted.announce("two", B, down=SIZE)
    counted.announce("liar", A, up=10**18)
    assert counted.of("a") == (0, 3 * SIZE)
    counted.announce("liar", A, up=2**64 - 1)
    assert counted.of("a") == (0, 3 * SIZE)


def test_without_groups_nothing_is_counted_and_a_reload_begins_with_what_comes_then() -> None:
    counted = Counted(grouped=False)
    counted.announce("one", A, event=STARTED)
    counted.announce("one", A, down=300, up=100)
    assert counted.ledger.counts == {}
    counted.ledger.groups = Groups({"a": [ipaddress.ip_network("10.1.0.0/16")]})
    for _ in counted.tracker.swarms.regroup(counted.ledger.groups):
        pass
    counted.announce("one", A, down=400, up=110)
    counted.announce("one", A, down=450, up=130)
    assert counted.of("a") == (150, 20)
    counted.ledger.groups = None
    for _ in counted.tracker.swarms.regroup(None):
        pass
    counted.announce("one", A, down=500, up=200)
    assert counted.of("a") == (150, 20)


def test_a_restart_counts_nothing_twice() -> None:
    counted = Counted()
    counted.announce("one", A, event=STARTED)
    counted.announce("one", A, down=400, up=300)
    rows = list(counted.tracker.swarms.export(counted.tracker.now))
    after = Counted()
    after.tracker.swarms.restore(rows, after.tracker.now, elapsed=60)
    after.tracker.open()
    after.announce("one", A, down=500, up=350)
    after.announce("one", A, down=600, up=370)
    assert after.of("a")[0] <= 200
    assert after.of("a")[1] == 20


@pytest.mark.parametrize(
    ("text", "count", "by_udp"),
    [
        ("17", 17, 17),
        ("", 0, 0),
        ("-1", 0, 2**64 - 1),
        ("x", 0, 0),
        ("9" * 30, 2**63 - 1, 2**63 - 1),
    ],
)
def test_uploaded_is_read_by_http_and_by_udp(text: str, count: int, by_udp: int) -> None:
    query = {"info_hash": HASH, "peer_id": peer_id("a"), "port": 1, "uploaded": text}
    assert parse_announce(urlencode(query).encode()).uploaded == count
    head = (5).to_bytes(8) + (1).to_bytes(4) + (9).to_bytes(4) + HASH + peer_id("a")
    numbers = [each.to_bytes(8) for each in (3, 4, by_udp)]
    tail = bytes(12) + (2**32 - 1).to_bytes(4) + (1).to_bytes(2)
    found = parse_datagram(head + b"".join(numbers) + tail)
    assert isinstance(found, DatagramAnnounce)
    announce = found.announce
    assert (announce.downloaded, announce.left, announce.uploaded) == (3, 4, count)
