"""Passkeys in announces over HTTP and UDP: read from the path, but not of who asks too often."""

import random
import struct

import pytest

from seeder.net.buckets import AddressLimiter
from seeder.tracker.holders import Holders
from seeder.tracker.passkeys import PasskeySigner
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.gateway.asking import ANNOUNCE, TRANSACTION, Server
from tests.gateway.support import AnyObjects, Public, make_routes
from tests.support.passkeys import NOON, SECRET, Keys
from tests.tracker.announcing import HASH, OWN_PORT, SIZE, Ledger, peer_id

QUERY = f"info_hash={'h' * 20}&peer_id=-TT0001-000000000000&port=2000&left=5&uploaded=7"


class Counting(PasskeySigner):
    """Counts how many keys it was given."""

    def __init__(self) -> None:
        super().__init__(SECRET)
        self.asked = 0

    def read(self, *arguments: object) -> None:
        self.asked += 1


@pytest.fixture
def keys() -> Keys:
    return Keys()


def public(keys: Keys, limiter: AddressLimiter | None = None) -> Public:
    """Return the routes of a tracker with one private torrent."""
    made = Public(limiter=limiter)
    made.swarms = Swarms(
        SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1), holders=keys.holders
    )
    made.swarms.open(HASH, size=SIZE, claims=Ledger(), private=True)
    made.routes = make_routes(made.swarms, AnyObjects(), limiter=limiter, clock=lambda: made.now)
    return made


def body(routes: Public, target: str) -> bytes:
    answer = routes.get(target)
    assert answer.status == 200
    assert isinstance(answer.body, bytes)
    return answer.body


@pytest.mark.parametrize(
    "path", ["/announce/%s", "//announce/%s", "/announce//%s/", "/announce/%s/"]
)
def test_the_key_is_what_follows_announce(keys: Keys, path: str) -> None:
    routes, key = public(keys), keys.make("alice", HASH).decode()
    assert b"5:peers" in body(routes, f"{path % key}?{QUERY}")
    escaped = "".join(f"%{ord(letter):02X}" for letter in key)
    assert b"5:peers" in body(routes, f"{path % escaped}?{QUERY}")
    counts = body(routes, f"/scrape/{key}?info_hash={'h' * 20}")
    assert b"8:completei1e10:downloadedi0e10:incompletei1e" in counts
    members = routes.swarms.members(HASH)
    assert members is not None
    assert [member.uploaded for member in members] == [7]


@pytest.mark.parametrize("path", ["/announce", "/announce/", "/announce/wrong", "/announce/%s0"])
def test_without_it_the_torrent_is_unknown(keys: Keys, path: str) -> None:
    routes = public(keys)
    path = path.replace("%s", keys.make("alice", HASH).decode())
    mine, other = (body(routes, f"{path}?{QUERY.replace('h' * 20, each * 20)}") for each in "hu")
    assert mine == other
    assert b"failure reason" in mine
    zeros = body(routes, f"{path.replace('announce', 'scrape')}?info_hash={'h' * 20}")
    assert b"8:completei0e10:downloadedi0e10:incompletei0e" in zeros


def test_a_key_of_one_request_is_none_of_the_next(keys: Keys) -> None:
    routes, key = public(keys), keys.make("alice", HASH).decode()
    assert b"5:peers" in body(routes, f"/announce/{key}?{QUERY}")
    assert b"failure reason" in body(routes, f"/announce?{QUERY}")
    body(routes, f"/announce/{key}?nothing")
    assert b"failure reason" in body(routes, f"/announce?{QUERY}")


@pytest.mark.parametrize("event", ["", "&event=stopped", "&event=completed", "&event=started"])
def test_who_asks_too_often_has_no_key_looked_at(keys: Keys, event: str) -> None:
    keys.holders.signer = signer = Counting()
    routes = public(keys, AddressLimiter(rate=1e-9, burst=1.0))
    body(routes, f"/announce/wrong?{QUERY}")
    assert signer.asked == 1
    for _ in range(5):
        assert b"too many requests" in body(routes, f"/announce/wrong?{QUERY}{event}")
        assert b"too many requests" in body(routes, f"/scrape/wrong?info_hash={'h' * 20}")
    assert signer.asked == 1


def udp_announce(server: Server, path: bytes, *, event: int = 0) -> bytes:
    """Announce by UDP with a path (BEP 41); return the reply."""
    request = struct.pack(">QII", server.connect(), ANNOUNCE, TRANSACTION) + HASH + peer_id("a")
    request += struct.pack(">QQQIIIiH", 0, SIZE, 0, event, 0, 0, -1, 6881)
    pieces = [path[start : start + 255] for start in range(0, len(path), 255)]
    request += b"".join(bytes((2, len(piece))) + piece for piece in pieces)
    answer = server.send(request)
    assert answer is not None
    return answer


def udp_server(holders: Holders, burst: float = 1e9) -> Server:
    server = Server(burst)
    server.tracker.swarms.holders = holders
    server.tracker.swarms.guard(HASH, private=True)
    return server


def test_by_udp_the_options_have_the_key(keys: Keys) -> None:
    server, key = udp_server(keys.holders), keys.make("alice", HASH)
    assert udp_announce(server, b"/announce/" + key)[:4] == struct.pack(">I", ANNOUNCE)
    for path in (b"/announce", b"/announce/wrong", b"/" + key, b""):
        assert b"not registered" in udp_announce(server, path)
    keys.holders.revoke({"alice": NOON})
    assert udp_announce(server, b"/announce/" + key).endswith(b"your passkey was revoked")


def test_by_udp_who_asks_too_often_has_no_key_looked_at(keys: Keys) -> None:
    keys.holders.signer = signer = Counting()
    server = udp_server(keys.holders, burst=1.0)
    assert b"not registered" in udp_announce(server, b"/announce/wrong")
    for event in range(4):
        assert b"too many" in udp_announce(server, b"/announce/wrong", event=event)
    assert signer.asked == 1
