"""Private swarms: who has a good passkey is in them, and nobody else learns that they are there."""

import json
import random
from collections.abc import Callable

import pytest

from seeder.cluster.records import name_of, pack, unpack
from seeder.errors import AnnounceError
from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.journal import Journal
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.tracker.told import SharedPeer
from tests.support.passkeys import DAY, NOON, Keys
from tests.tracker.announcing import HASH, LOCAL, OWN, OWN_PORT, SIZE, Ledger, cut, packed, peer_id

PUBLIC, UNKNOWN, SHORT = (InfoHash(each * 20) for each in (b"p", b"u", b"2"))
STARTED, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.STOPPED
COUNTS = ScrapeCounts(complete=1, incomplete=1)


class Closed:
    """A tracker with a private torrent (a hybrid) and a public one."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
        self.swarms = Swarms(
            SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1), holders=self.keys.holders
        )
        self.now = 1000.0

    def open(self, *, private: bool = True) -> "Closed":
        self.swarms.open(HASH, size=SIZE, claims=Ledger(), alias=SHORT, private=private)
        self.swarms.open(PUBLIC, size=SIZE, claims=Ledger())
        return self

    def announce(
        self,
        name: str,
        passkey: bytes = b"",
        address: str = "192.0.2.1",
        *,
        info_hash: InfoHash = HASH,
        event: AnnounceEvent = AnnounceEvent.NONE,
        uploaded: int = 0,
    ) -> AnnounceReply:
        self.now += 10
        request = AnnounceRequest(info_hash, peer_id(name), 2000, left=SIZE, event=event)
        request = request._replace(passkey=passkey, uploaded=uploaded)
        return self.swarms.announce(request, packed(address), LOCAL, self.now)

    def refused(self, passkey: bytes = b"", info_hash: InfoHash = HASH) -> tuple[str, str | None]:
        with pytest.raises(AnnounceError) as caught:
            self.announce("stranger", passkey, info_hash=info_hash)
        return caught.value.reason, caught.value.retry_in

    def sweep(self) -> None:
        for _ in self.swarms.sweep(self.now):
            pass


def endpoint(address: str) -> bytes:
    return compact_endpoint(packed(address), 2000)


@pytest.fixture
def closed() -> Closed:
    return Closed().open()


def test_members_hear_of_each_other_and_of_our_seeder(closed: Closed) -> None:
    alice, bob = (closed.keys.make(name, HASH) for name in ("alice", "bob"))
    assert cut(closed.announce("a", alice).peers) == [OWN]
    reply = closed.announce("b", bob, "192.0.2.2", info_hash=SHORT)
    assert set(cut(reply.peers)) == {OWN, endpoint("192.0.2.1")}
    assert closed.swarms.scrape([HASH], alice) == {HASH: ScrapeCounts(1, 0, 2)}
    assert closed.swarms.scrape([SHORT], alice) == {SHORT: ScrapeCounts(1, 0, 2)}


def test_a_stranger_is_told_of_a_private_torrent_what_he_is_told_of_none(closed: Closed) -> None:
    alice = closed.keys.make("alice", HASH)
    closed.announce("a", alice)
    wrong = [b"wrong", closed.keys.make("alice", UNKNOWN), closed.keys.make("alice", PUBLIC)]
    for key in (b"", *wrong):
        for mine in (HASH, SHORT):
            assert closed.refused(key, mine) == closed.refused(key, UNKNOWN)
        assert closed.swarms.scrape([HASH, SHORT], key) == {
            HASH: ScrapeCounts(),
            SHORT: ScrapeCounts(),
        }
    assert closed.refused() == ("torrent not registered with this tracker", "never")
    assert closed.refused(b"wrong")[0].endswith("or your passkey is wrong")
    closed.swarms.loading = True
    assert closed.refused() == closed.refused(info_hash=UNKNOWN)
    assert closed.refused()[1] == "1"
    assert closed.swarms.counts(HASH) == COUNTS


@pytest.mark.parametrize("end", ["close", "rest"])
def test_why_a_private_torrent_is_gone_is_for_its_members_alone(closed: Closed, end: str) -> None:
    alice = closed.keys.make("alice", HASH)
    closed.announce("a", alice)
    getattr(closed.swarms, end)(HASH, "the object was deleted")
    assert closed.refused(alice)[0] == "the object was deleted"
    assert closed.refused() == closed.refused(info_hash=UNKNOWN)
    assert closed.refused(b"wrong") == closed.refused(b"wrong", UNKNOWN)


def test_a_public_torrent_takes_any_path(closed: Closed) -> None:
    for key in (b"", b"junk", closed.keys.make("alice", HASH)):
        assert closed.announce("a", key, info_hash=PUBLIC).peers
        assert closed.swarms.scrape([PUBLIC], key)[PUBLIC].complete
    assert not closed.keys.holders.refusals


def test_a_revoked_or_expired_member_is_told_so_and_nobody_hears_of_it(closed: Closed) -> None:
    alice, bob = (closed.keys.make(name, HASH) for name in ("alice", "bob"))
    closed.announce("a", alice)
    closed.announce("b", bob, "192.0.2.2")
    closed.keys.holders.revoke({"alice": NOON})
    assert closed.refused(alice) == ("your passkey was revoked", "never")
    closed.sweep()
    assert cut(closed.announce("b", bob, "192.0.2.2").peers) == [OWN]
    assert closed.swarms.scrape([HASH], alice) == {HASH: ScrapeCounts()}
    again = closed.keys.make("alice", HASH, issued=NOON + 1)
    assert closed.announce("a", again).peers
    closed.keys.now = NOON + DAY
    assert closed.refused(bob) == ("your passkey has expired: get the torrent anew", "60")
    closed.sweep()
    assert cut(closed.announce("a", again).peers) == [OWN]


def test_nobody_can_take_a_member_off_without_its_key(closed: Closed) -> None:
    alice = closed.keys.make("alice", HASH)
    closed.announce("a", alice)
    with pytest.raises(AnnounceError):
        closed.announce("a", b"wrong", event=STOPPED)
    assert closed.swarms.counts(HASH).incomplete == 1
    closed.announce("a", alice, event=STOPPED)
    assert closed.swarms.counts(HASH).incomplete == 0


def test_a_restart_keeps_the_members_and_no_key(closed: Closed) -> None:
    keys, alice = closed.keys, closed.keys.make("alice", HASH)
    closed.announce("a", alice)
    closed.announce("b", keys.make("bob", HASH), "192.0.2.2")
    rows = json.loads(json.dumps(list(closed.swarms.export(closed.now))))
    assert alice.decode() not in json.dumps(rows)
    later = Closed(keys)
    later.swarms.restore(rows, later.now)
    keys.holders.revoke({"bob": NOON})
    later.open().sweep()
    reply = later.announce("c", keys.make("carol", HASH), "192.0.2.3")
    assert set(cut(reply.peers)) == {OWN, endpoint("192.0.2.1")}
    found = later.swarms.members(HASH)
    assert found is not None
    assert [member.passkey.holder for member in found] == ["alice", "bob", "carol"]


def test_a_restart_lists_nobody_who_came_without_a_key() -> None:
    """The torrent was public then."""
    before = Closed().open(private=False)
    before.announce("a")
    rows = list(before.swarms.export(before.now))
    later = Closed(before.keys)
    later.swarms.restore(rows, later.now)
    later.open()
    assert later.swarms.counts(HASH).incomplete == 0


def test_a_torrent_may_become_private_and_public_again(closed: Closed) -> None:
    closed.swarms.guard(HASH, private=False)
    closed.announce("a")
    closed.sweep()
    closed.swarms.guard(HASH, private=True)
    assert closed.swarms.sweep_due
    closed.sweep()
    assert not closed.swarms.sweep_due
    assert closed.swarms.counts(HASH).incomplete == 0
    assert closed.refused() == closed.refused(info_hash=UNKNOWN)
    closed.swarms.guard(HASH, private=False)
    assert closed.announce("a").peers
    assert closed.swarms.members(HASH) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cells: cells[:-1],
        lambda cells: [*cells[:2], 7, *cells[3:]],
        lambda cells: [*cells[:2], "a\n", *cells[3:]],
        lambda cells: [*cells[:3], 2**32, *cells[4:]],
        lambda cells: [*cells[:3], -1, *cells[4:]],
        lambda cells: ["00", *cells[1:]],
    ],
)
def test_a_damaged_member_is_refused(
    closed: Closed, spoil: Callable[[list[object]], list[object]]
) -> None:
    closed.announce("a", closed.keys.make("alice", HASH))
    rows = json.loads(json.dumps(list(closed.swarms.export(closed.now))))
    [row] = [row for row in rows if row.get("members")]
    row["members"] = [spoil(cells) for cells in row["members"]]
    with pytest.raises(ValueError, match="not a saved swarm"):
        Closed().swarms.restore(rows, 0.0)


def test_the_silent_are_no_members_for_ever(closed: Closed) -> None:
    closed.announce("a", closed.keys.make("alice", HASH))
    closed.now += SwarmPolicy().expiry + 1
    assert sum(closed.swarms.expire(closed.now)) == 1
    members = closed.swarms.members(HASH)
    assert members is not None
    assert len(members) == 0


# -- several nodes


class Node(Closed):
    """One node of a cluster, which tells what it hears."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys)
        self.swarms.journal = Journal(60.0, lambda name: True)

    def tell(self, other: "Node") -> None:
        """Have another node hear of every peer, as it comes out of the store."""
        for told in self.swarms.tell_all():
            value = pack(told, lambda seen: int(seen * 1e6))
            assert alike(unpack(name_of(told), value, lambda at: at / 1e6), told)
            other.swarms.hear(told, other.now, fresh=True)


def alike(one: SharedPeer, other: SharedPeer) -> bool:
    return one._replace(seen=0) == other._replace(seen=0)


def test_a_member_of_one_node_is_one_of_the_others() -> None:
    keys, told = Keys(counter := Sums()), counter.sums
    one, two = Node(keys), Node(keys)
    one.open()
    two.open()
    alice = keys.make("alice", HASH)
    one.announce("a", alice, event=STARTED, uploaded=5)
    one.tell(two)
    two.sweep()
    assert two.swarms.counts(HASH).incomplete == 1
    members = two.swarms.members(HASH)
    assert members is not None
    assert [each.passkey.holder for each in members] == ["alice"]
    assert told == {"alice": 5}
    # What it goes on to claim counts once.
    two.announce("a", alice, uploaded=7)
    two.announce("a", alice, uploaded=10)
    assert told == {"alice": 10}
    keys.holders.revoke({"alice": NOON})
    one.announce("b", keys.make("bob", HASH), "192.0.2.2")
    one.tell(two)
    two.sweep()
    assert two.swarms.counts(HASH).incomplete == 1


def test_a_peer_without_a_passkey_is_not_taken_from_another_node() -> None:
    keys = Keys()
    one, two = Node(keys), Node(keys)
    one.open(private=False)
    two.open()
    one.announce("a")
    one.tell(two)
    assert two.swarms.counts(HASH).incomplete == 0


class Sums:
    """What was claimed as uploaded, by holder."""

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}

    def announced(self, holder: str, *, uploaded: int, downloaded: int, completed: bool) -> None:
        self.sums[holder] = self.sums.get(holder, 0) + uploaded


def test_a_look_for_bad_keys_lets_others_run_between_public_swarms(closed: Closed) -> None:
    for number in range(1000):
        info_hash = InfoHash(number.to_bytes(20, "big"))
        closed.swarms.open(info_hash, size=SIZE, claims=Ledger())
        closed.announce("leech", info_hash=info_hash)
    assert len([*closed.swarms.sweep(closed.now)]) >= 2
