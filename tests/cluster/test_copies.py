"""What an address had of a torrent counts at every node, once."""

import struct
from math import inf, nan

import pytest
import trio

from seeder.cluster import records
from seeder.cluster.copies import MOST_TOLD, SharedCopies
from seeder.net.addresses import networks_of
from seeder.upload.standing import AddressHistory
from tests.cluster.support import MakeTracker, until

TORRENT = b"1" * 20
ADDRESS = networks_of(bytes((203, 0, 113, 7)))
V6 = networks_of(bytes.fromhex("20010db8000000010000000000000001"))


def histories(count: int) -> list[tuple[AddressHistory, SharedCopies]]:
    made = []
    for number in range(count):
        history, shared = AddressHistory(), SharedCopies(f"run{number}")
        shared.share(history)
        made.append((history, shared))
    return made


@pytest.mark.parametrize("networks", [ADDRESS, V6])
def test_a_batch_counts_once_however_often_it_is_told(networks: tuple[bytes, ...]) -> None:
    (one, telling), (other, hearing) = histories(2)
    one.add(TORRENT, networks, 0.0, sent=600, fetched=100, clients=2)
    one.add(TORRENT, networks, 0.0, sent=600, clients=3)
    first, number = telling.to_tell()
    # What comes meanwhile waits for the next one.
    one.add(TORRENT, networks, 0.0, sent=1)
    assert telling.to_tell() == (first, number)
    for _ in range(3):
        hearing.hear(b"one", number, first, 0.0)
    had = other.had(TORRENT, networks, 0.0)
    assert [each.sent for each in had] == [500.0, *[1200.0] * (len(networks) - 1)]
    assert [each.fetched for each in had] == [100.0] * len(networks)
    telling.told()
    second, number = telling.to_tell()
    hearing.hear(b"one", number, second, 0.0)
    hearing.hear(b"one", number, first, 0.0)
    assert other.had(TORRENT, networks, 0.0)[0].sent == 501.0
    # Nothing of it is told on.
    assert not hearing.has_news
    assert one.had(TORRENT, networks, 0.0)[0].sent == 501.0


def test_what_was_booked_and_not_read_is_taken_back_everywhere() -> None:
    (one, telling), (other, hearing) = histories(2)
    one.add(TORRENT, ADDRESS, 0.0, fetched=100)
    one.take_back(TORRENT, ADDRESS, 0.0, fetched=40)
    batch, number = telling.to_tell()
    hearing.hear(b"one", number, batch, 0.0)
    assert other.had(TORRENT, ADDRESS, 0.0)[0].fetched == 60.0
    telling.told()
    one.take_back(TORRENT, ADDRESS, 0.0, fetched=90)
    batch, number = telling.to_tell()
    hearing.hear(b"one", number, batch, 0.0)
    assert other.had(TORRENT, ADDRESS, 0.0)[0].fetched == 0.0


def test_a_node_that_started_anew_is_heard() -> None:
    (one, telling), (other, hearing) = histories(2)
    for run in ("first", "second"):
        telling = SharedCopies(run)
        telling.share(one)
        one.add(TORRENT, ADDRESS, 0.0, sent=100)
        batch, number = telling.to_tell()
        hearing.hear(b"one", number, batch, 0.0)
    assert other.had(TORRENT, ADDRESS, 0.0)[0].sent == 200.0


def test_what_cant_be_told_stays_bounded() -> None:
    [(one, telling)] = histories(1)
    for number in range(MOST_TOLD + 100):
        one.add(TORRENT, networks_of(number.to_bytes(4, "big")), 0.0, sent=1)
    told = 0
    while telling.has_news:
        batch, _ = telling.to_tell()
        telling.told()
        told += len(batch) // 50
    assert told == MOST_TOLD


def test_what_is_no_batch_is_refused() -> None:
    [(_, hearing)] = histories(1)
    values = [
        struct.pack(">qdq", *numbers)
        for numbers in (
            (1, nan, 0),
            (1, inf, 0),
            (-1, -2.0, 0),
            (2**62, 1.0, 0),
            (1, 1.0, 2**62),
            (1, 1.0, -(2**62)),
        )
    ]
    absurd = [
        (b"x:%d" % number, records.join([(b"t" * 20 + b"addr", value)]))
        for number, value in enumerate(values, 2)
    ]
    torn = ((b"x:1", b"\x04\x02abcdef"), (b"x:z", b"a"), (b"", b"a"))
    for number, batch in (*torn, *absurd):
        with pytest.raises(ValueError, match=r".*"):
            hearing.hear(b"one", number, batch, 0.0)


async def test_what_one_node_sent_an_address_counts_at_the_others(tracker: MakeTracker) -> None:
    nodes = [await tracker(name) for name in ("a", "b")]
    made = [AddressHistory() for _ in nodes]
    for node, history in zip(nodes, made, strict=True):
        node.exchange.copies.share(history)
    now = trio.current_time()
    made[0].add(TORRENT, ADDRESS, now, sent=1000)
    made[1].add(TORRENT, ADDRESS, now, fetched=500)
    await until(lambda: all(each.had(TORRENT, ADDRESS, now)[0].sent > 999 for each in made))
    await until(lambda: all(each.had(TORRENT, ADDRESS, now)[0].fetched > 499 for each in made))
