"""Whatever amounts clients announce: nothing but counts of 63 bits comes of them, anywhere."""

import ipaddress
import json
import random
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest

from seeder.cluster.records import name_of, pack, unpack
from seeder.ledger.groups import GroupLedger
from seeder.net.groups import Groups
from seeder.tracker.announce import LARGEST_COUNT, AnnounceRequest, parse_announce
from seeder.tracker.datagrams import DatagramAnnounce, parse_datagram
from seeder.tracker.journal import Journal
from seeder.tracker.members import Members
from seeder.tracker.passkeys import Passkey
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.tracker.told import SharedPeer
from tests.tracker.announcing import HASH, LOCAL, OWN_PORT, SIZE, Ledger, packed, peer_id

GROUPS = Groups({"here": [ipaddress.ip_network("50.1.0.0/16")]})
ABSURD = [
    *(b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"1e30", b"1.5", b"-1", b"-5", b"+5", b" 5"),
    *(b"0x10", b"1_000", "\u0661\u0662".encode(), "\u00b2".encode(), b"", b"None", b"true"),
    *(b"%d" % (2**power + more) for power in (31, 32, 63, 64) for more in (-1, 0, 1)),
    *(b"9" * 30, b"9" * 5000),
]
"""As clients may write them."""
WORDS = (0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 5, 2**64 - 1)
"""The same by UDP."""


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def by_http(amount: bytes, event: bytes) -> AnnounceRequest:
    written = quote_from_bytes(amount).encode()
    query = b"info_hash=%b&peer_id=%b&port=2000&key=k&event=%b" % (HASH, peer_id("a"), event)
    for name in (b"uploaded", b"downloaded", b"left", b"numwant"):
        query += b"&%b=%b" % (name, amount if amount.isalnum() else written)
    return parse_announce(query)


def by_udp(amount: int, event: int) -> AnnounceRequest:
    head = (5).to_bytes(8) + (1).to_bytes(4) + (9).to_bytes(4) + HASH + peer_id("a")
    tail = event.to_bytes(4) + bytes(4) + b"0123" + b"\xff" * 4 + (2000).to_bytes(2)
    found = parse_datagram(head + 3 * amount.to_bytes(8) + tail)
    assert isinstance(found, DatagramAnnounce)
    return found.announce


def absurd() -> Iterator[AnnounceRequest]:
    """Yield announces with every absurd amount, beginning, going on and completing."""
    for amount in ABSURD:
        yield from (by_http(amount, event) for event in (b"started", b"", b"completed"))
    for word in WORDS:
        yield from (by_udp(word, event) for event in (2, 0, 1))


@pytest.mark.parametrize("word", WORDS)
def test_what_is_negative_by_udp_is_nothing_as_by_http(word: int) -> None:
    request = by_udp(word, 0)
    expected = word if word < 2**63 else 0
    assert (request.downloaded, request.uploaded) == (expected, expected)
    assert request.left == (word if word < 2**63 else None)


@pytest.mark.parametrize("amount", ABSURD)
def test_an_amount_that_is_no_number_is_nothing(amount: bytes) -> None:
    request = by_http(amount, b"")
    digits = amount.isdigit()
    expected = min(int(amount.decode()), LARGEST_COUNT) if digits and len(amount) < 99 else None
    if len(amount) < 99:
        assert (request.downloaded, request.uploaded) == (expected or 0, expected or 0)
        assert request.left == expected
    assert is_count(request.downloaded)
    assert request.left is None or is_count(request.left)


def everything(swarms: Swarms, now: float) -> Iterator[object]:
    """Yield all numbers that others are given."""
    rows = list(swarms.export(now))
    # Neither NaN nor an infinity is JSON.
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        assert type(row["completed"]) is int
        for entry in (*row["peers"], *row["sessions"], *row.get("members", ())):
            yield from (cell for cell in entry[:-1] if not isinstance(cell, str))
    for told in swarms.tell_all():
        yield told.downloaded
        yield unpack(name_of(told), pack(told, int), float).downloaded


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_nothing_absurd_gets_anywhere(groups: Groups | None) -> None:
    ledger, by_group = Ledger(), GroupLedger(groups)
    swarms = Swarms(
        SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1), groups=groups, by_group=by_group
    )
    swarms.journal = Journal(60, lambda _: True)
    swarms.open(HASH, size=SIZE, claims=ledger)
    requests = list(absurd())
    random.Random(5).shuffle(requests)
    for number, request in enumerate(requests):
        swarms.announce(request, packed("50.1.0.1"), LOCAL, 1000.0 + number)
        assert all(map(is_count, everything(swarms, 2000.0)))
        assert is_count(ledger.delivered)
        for counts in by_group.counts.values():
            assert all(map(is_count, counts.values()))
    assert ledger.delivered <= SIZE * len(requests)


def test_holders_are_counted_nothing_absurd_either() -> None:
    class Counter:
        def announced(
            self, holder: str, *, uploaded: int, downloaded: int, completed: bool
        ) -> None:
            assert is_count(uploaded)
            assert is_count(downloaded)
            assert downloaded <= SIZE
            assert uploaded <= SIZE

    members = Members(SIZE, Counter(), at_address=3, most=9)
    for number, request in enumerate(absurd()):
        members.note(request, Passkey("alice", 1, 2), packed("50.1.0.1") + b"\1\1", number)
        [saved] = members.export()
        assert is_count(saved.uploaded)
        assert is_count(saved.downloaded)


def test_what_earlier_versions_told_and_saved_is_cut_to_what_there_can_be() -> None:
    request = by_udp(7, 0)
    told = SharedPeer(
        HASH, packed("50.1.0.1") + b"\1\1", request.peer_id, b"k", 1.0, 7, request.event,
        False, False, False,
    )  # fmt: skip
    value = pack(told, int)
    raw = value[:9] + b"\xff" * 8 + value[17:]
    assert unpack(name_of(told), raw, float).downloaded == LARGEST_COUNT
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    row = {
        "info_hash": HASH.hex(),
        "completed": 2**70,
        "claimed": 2**70,
        "peers": [],
        "sessions": [
            [request.peer_id.hex(), b"k".hex(), 2**64 - 1, 2**80, 0, "c0000201" + "0101", 5.0]
        ],
    }
    swarms.restore([row], 1000.0)  # type: ignore[list-item]
    swarms.open(HASH, size=SIZE, claims=Ledger())
    assert all(map(is_count, everything(swarms, 1000.0)))
