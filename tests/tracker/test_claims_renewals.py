"""An announce that says nothing new is taken in a shorter way, with the same effects and answer."""

import json
import random
from collections.abc import Sequence
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.groups import Groups
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest
from seeder.tracker.claims import Claims
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import Counted, SwarmRow
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import HASH, LOCAL, OWN_PORT, SIZE, Ledger, packed

ADDRESSES = ["192.0.2.1", "192.0.2.2", "198.51.100.1", "10.0.0.1", "2001:db8::1", "2001:db8:1::1"]


class Step(NamedTuple):
    request: AnnounceRequest
    address: bytes
    elapsed: float


def request_of(
    client: tuple[bytes, bytes, str], said: tuple[int, int | None, AnnounceEvent, int | None, int]
) -> tuple[AnnounceRequest, bytes]:
    peer_id, key, address = client
    downloaded, left, event, numwant, uploaded = said
    request = AnnounceRequest(
        HASH, peer_id, 6881, downloaded, left, event, numwant, key=key, uploaded=uploaded
    )
    return request, packed(address)


IDENTITIES = [(b"a" * 20, b""), (b"b" * 20, b"key1"), (b"c" * 20, b"k" * 9)]
clients = st.one_of(
    *(
        # Mostly from where each was before.
        st.tuples(st.just(name), st.just(key), st.sampled_from([home, home, home, *ADDRESSES]))
        for (name, key), home in zip(IDENTITIES, ADDRESSES, strict=False)
    )
)
said = st.tuples(
    st.sampled_from([0, 0, 5, SIZE]),
    st.sampled_from([0, SIZE, SIZE, None]),
    st.sampled_from([*AnnounceEvent, AnnounceEvent.NONE, AnnounceEvent.COMPLETED]),
    st.sampled_from([None, 0, 1, 3]),
    st.sampled_from([0, 7]),
)
steps = st.builds(
    lambda asked, elapsed: Step(asked[0], asked[1], elapsed),
    st.builds(request_of, clients, said),
    st.sampled_from([0.0, 1.0, 6.0, 700.0]),
)


def earlier_run() -> list[SwarmRow]:
    """Return what a run saved that died later: it had counted more by then."""
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(2))
    swarms.open(HASH, size=SIZE, claims=Ledger())
    for (peer_id, key), address in zip(IDENTITIES, ADDRESSES, strict=False):
        request = AnnounceRequest(HASH, peer_id, 6881, left=SIZE, key=key)
        swarms.announce(request, packed(address), LOCAL, 900.0)
    return list(swarms.export(900.0))


EARLIER, COUNTED = earlier_run(), Counted(1, SIZE)


def play(steps: Sequence[Step], *, grouped: bool) -> tuple[list[AnnounceReply], Ledger, str]:
    """Return what each announce was answered, what was counted, and what would be saved."""
    groups = Groups({"near": [ip_network("192.0.2.0/24")]}) if grouped else None
    swarms = Swarms(
        SwarmPolicy(peers_per_address=2, peers_per_swarm=6),
        OwnSeeder(OWN_PORT),
        rng=random.Random(1),
        groups=groups,
    )
    ledger, now, replies = Ledger(), 1000.0, []
    swarms.restore(EARLIER, now)
    swarms.open(HASH, size=SIZE, claims=ledger, counted=COUNTED)
    for step in steps:
        now += step.elapsed
        replies.append(swarms.announce(step.request, step.address, LOCAL, now))
    return replies, ledger, json.dumps(list(swarms.export(now)), default=repr)


@given(st.lists(steps, max_size=30), st.booleans())
def test_the_short_way_does_and_answers_the_same(some: list[Step], grouped: bool) -> None:
    # The same announces again: most of these say nothing new.
    announced = [*some, *(step._replace(elapsed=6.0) for step in some)]
    replies, ledger, saved = play(announced, grouped=grouped)
    with pytest.MonkeyPatch.context() as full:
        full.setattr(Claims, "renew", lambda *_: False)
        by_full = play(announced, grouped=grouped)
    assert replies == by_full[0]
    assert vars(ledger) == vars(by_full[1])
    assert saved == by_full[2]
