"""However the daemon seeds, no client stalls: alone, in a mixed swarm, late, or cut off."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Namespace, Network
from tests.e2e.publishing import (
    origin,
    read_torrent,
    served_magnet,
    served_torrent,
    wait_for_state,
)
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher, wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until
from tests.support.raw_peer import (
    BLOCK,
    FAST,
    HAVE,
    HAVE_ALL,
    INTERESTED,
    PIECE,
    RawPeer,
    message,
    request,
)
from tests.support.toml import Settings

PIECE_LENGTH = 64 * KIB
SIZE = 4 * MIB + 3
PIECES = SIZE // PIECE_LENGTH + 1
KEY = "shared.bin"
NORMAL = {"super_seeding": "off"}
TENTH = {"memory": f"{SIZE // 10} B", "disk": "0 B"}
MODES: Mapping[str, Settings] = {
    "normal": {"peer": NORMAL},
    "normal, cache of a tenth": {"peer": NORMAL, "cache": TENTH},
    "super-seeding": {},
    "super-seeding, cache of a tenth": {"cache": TENTH},
    "upload limits": {"peer": {"upload_rate": "4 MiB/s", "upload_rate_per_peer": "1 MiB/s"}},
    "two slots": {"peer": {"upload_slots": 2}},
    "two slots, normal": {"peer": {**NORMAL, "upload_slots": 2}},
}
"""What the configuration says beside the objects."""
PATIENCE = 180
"""Seconds: Transmission begins after 15, and one rTorrent in forty pauses for 60, or twice that."""

pytestmark = pytest.mark.timeout(240)

Start = Callable[[Settings, Mapping[str, bytes]], SeederDaemon]
Shared = Callable[[Settings], tuple[SeederDaemon, Path]]


@pytest.fixture
def start(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> Start:
    """Return a function that starts a daemon in some mode for objects of these bodies."""

    def started(mode: Settings, bodies: Mapping[str, bytes]) -> SeederDaemon:
        for key, body in bodies.items():
            publisher.put(bucket, key, body)
        further = {"metainfo": ["build"], "piece_length": f"{PIECE_LENGTH} B"}
        objects = [{"bucket": bucket, "key": key, **further} for key in bodies]
        daemon = seeder({"origin": origin(ceph), "objects": objects, **mode})
        daemon.start()
        for key in bodies:
            wait_for_state(daemon, bucket, key)
        return daemon

    return started


@pytest.fixture
def shared(start: Start, bucket: str, tmp_path: Path) -> Shared:
    """Return a function that publishes one object in some mode, and gives its torrent file too."""

    def publish(mode: Settings) -> tuple[SeederDaemon, Path]:
        daemon = start(mode, {KEY: content(SIZE)})
        file = tmp_path / f"{KEY}.torrent"
        file.write_bytes(served_torrent(daemon, bucket, KEY))
        return daemon, file

    return publish


def download_all(leechers: Sequence[Leecher], file: Path) -> None:
    """Let clients download the shared object side by side, and compare what they got."""
    for leecher in leechers:
        leecher.add(file)
    for path in wait_for_all(leechers, timeout=PATIENCE):
        assert digest(path) == digest(content(SIZE))


@pytest.mark.parametrize("mode", MODES)
def test_every_client_completes_alone(
    mode: str,
    start: Start,
    bucket: str,
    kinds: Sequence[type[Leecher]],
    client: ClientFactory,
) -> None:
    bodies = {kind.__name__: content(SIZE, seed=n) for n, kind in enumerate(kinds)}
    daemon = start(MODES[mode], bodies)
    leechers = [client(kind) for kind in kinds]
    for leecher, key in zip(leechers, bodies, strict=True):
        leecher.add(served_magnet(daemon, bucket, key))
    for path, body in zip(wait_for_all(leechers, timeout=PATIENCE), bodies.values(), strict=True):
        assert digest(path) == digest(body), path.name


@pytest.mark.parametrize("mode", MODES)
def test_every_client_completes_in_a_mixed_swarm(
    mode: str,
    shared: Shared,
    kinds: Sequence[type[Leecher]],
    client: ClientFactory,
) -> None:
    _, file = shared(MODES[mode])
    download_all([client(kind) for kind in kinds], file)


def test_clients_complete_that_reach_nobody_but_the_seeder(
    shared: Shared,
    namespace: Namespace,
    kinds: Sequence[type[Leecher]],
    client: ClientFactory,
) -> None:
    _, file = shared({})
    leechers = [client(kind) for kind in kinds]
    pairs = itertools.permutations((leecher.address for leecher in leechers), 2)
    with namespace.without(*(f"from {one} to {other}" for one, other in pairs)):
        download_all(leechers, file)


def test_clients_complete_of_which_every_other_one_has_a_closed_port(
    shared: Shared,
    namespace: Namespace,
    kinds: Sequence[type[Leecher]],
    client: ClientFactory,
) -> None:
    _, file = shared({})
    leechers = [client(kind) for kind in kinds]
    closed = [f"to {each.address} ipproto tcp dport {each.port}" for each in leechers[::2]]
    with namespace.without(*closed):
        download_all(leechers, file)


# -- a late leecher -----------------------------------------------------------------------------


def test_a_late_leecher_is_shown_everything_while_there_are_other_seeds(
    shared: Shared, bucket: str, network: Network, client: ClientFactory
) -> None:
    daemon, file = shared({})
    download_all([client(Libtorrent), client(Libtorrent)], file)
    poll_until(lambda: daemon.torrent_status(bucket, KEY)["seeds"] == 2, timeout=20, what="seeds")
    # The tracker may hear that they are complete before the wire does.
    poll_until(lambda: daemon.status()["peers"]["connected"] == 0, timeout=20, what="farewell")
    with RawPeer(network.address(16), daemon.peer_address) as late:
        late.greet(read_torrent(file.read_bytes()).info_hash, reserved=FAST)
        assert late.read_message() == (HAVE_ALL, b"")


def test_a_late_leecher_is_never_kept_waiting_when_the_swarm_has_left(
    shared: Shared, bucket: str, network: Network, client: ClientFactory
) -> None:
    daemon, file = shared({})
    swarm = [client(Libtorrent), client(Libtorrent)]
    download_all(swarm, file)
    for leecher in swarm:
        leecher.leave()
    poll_until(
        lambda: daemon.torrent_status(bucket, KEY)["seeds"] == 0, timeout=20, what="empty swarm"
    )
    with RawPeer(network.address(16), daemon.peer_address) as late:
        late.greet(read_torrent(file.read_bytes()).info_hash, reserved=FAST)
        # It takes five seconds until a peer counts as one that the others don't help.
        assert longest_wait(late) < 4


def longest_wait(peer: RawPeer) -> float:
    """Download the shared object piece by piece, as shown; return the longest silence in s."""
    left = dict.fromkeys(range(PIECES), PIECE_LENGTH) | {PIECES - 1: SIZE % PIECE_LENGTH}
    longest = 0.0
    peer.send(message(INTERESTED))
    while left:
        asked_at = time.monotonic()
        number, payload = peer.read_message()
        longest = max(longest, time.monotonic() - asked_at)
        index = payload[:4]
        if number == HAVE_ALL:
            peer.send(*(block for piece in left for block in blocks_of(piece)))
        elif number == HAVE:
            peer.send(*blocks_of(int.from_bytes(index, "big")))
        elif number == PIECE:
            left[int.from_bytes(index, "big")] -= len(payload) - 8
            if not left[int.from_bytes(index, "big")]:
                del left[int.from_bytes(index, "big")]
                peer.send(message(HAVE, index))
    return longest


def blocks_of(piece: int) -> list[bytes]:
    """Return the requests for the blocks of a piece of the shared object."""
    length = min(PIECE_LENGTH, SIZE - piece * PIECE_LENGTH)
    begins = range(0, length, BLOCK)
    return [request(piece, begin, min(BLOCK, length - begin)) for begin in begins]


def test_a_late_leecher_need_not_wait_for_the_slow_uplink_of_another(
    shared: Shared, client: ClientFactory
) -> None:
    _, file = shared({})
    slow = client(Libtorrent, download_rate=256 * KIB, upload_rate=16 * KIB)
    slow.add(file)
    poll_until(lambda: slow.status().progress > 0.25, timeout=30, what="a quarter of the object")
    slow.limit_download(32 * KIB)
    download_all([client(Libtorrent)], file)
    # At its rate the late one would have been done when the slow one was.
    assert slow.status().progress < 0.5
