"""An rTorrent alone with a super-seeder: what is said before what.

An rTorrent that finds nothing to want when it is unchoked, or later, ignores us for ten seconds.
By the clock that can't be told from a busy machine.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory, Rtorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.peer_wire import Conversation, PeerWire
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import KIB, MIB, content, digest
from tests.support.raw_peer import BITFIELD, BLOCK, HAVE, PIECE, REQUEST, UNCHOKE

KEY = "object"
PIECE_LENGTH = 256 * KIB
BODY = content(24 * MIB)
PIECES = len(BODY) // PIECE_LENGTH
WIRE = 16
"""The number of the wire's address."""
CHOKE, NOT_INTERESTED = 0, 3


def shown_by(number: int, payload: bytes) -> set[int]:
    if number == HAVE:
        return {int.from_bytes(payload[:4], "big")}
    bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
    return {index for index, bit in enumerate(bits) if bit == "1"}


def check(conversation: Conversation) -> None:
    """Check the order of what was said in a download, up to its end."""
    shown, asked, sent = set[int](), set[tuple[bytes, bytes]](), 0
    unchoked = False
    for side, number, payload in conversation.said:
        if side == "seeder" and number in (HAVE, BITFIELD):
            fresh = shown_by(number, payload)
            assert not fresh & shown
            shown |= fresh
        elif side == "seeder" and number == UNCHOKE:
            unchoked = True
            assert shown, "unchoked before there was anything to want"
        elif side == "seeder" and number == CHOKE:
            assert sent == len(BODY) // BLOCK, "it had to be nudged"
        elif side == "seeder" and number == PIECE:
            sent += 1
        elif side == "peer" and number == REQUEST:
            assert unchoked
            asked.add((payload[:4], payload[4:8]))
        elif side == "peer" and number == NOT_INTERESTED:
            assert len(shown) == PIECES, "it ran out of pieces to want"
    assert sent == len(asked) == len(BODY) // BLOCK


def test_an_rtorrent_alone_always_has_something_to_want(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    namespace: Network,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, KEY, BODY)
    daemon, wire = seeder({}), namespace.address(WIRE)
    wish = {"bucket": bucket, "key": KEY, "piece_length": f"{PIECE_LENGTH} B"}
    with PeerWire(wire, daemon.peer_address) as between:
        daemon.configure(
            {
                "origin": origin(ceph),
                "objects": [wish | {"metainfo": ["build"]}],
                "peer": {"public_address": f"{wire}:{between.port}", "super_seeding": "auto"},
            }
        )
        daemon.start()
        wait_for_state(daemon, bucket, KEY)
        file = tmp_path / "object.torrent"
        file.write_bytes(served_torrent(daemon, bucket, KEY))
        leecher = client(Rtorrent, encryption="plain")
        begun = time.monotonic()
        assert digest(leecher.download(file, timeout=90)) == digest(BODY)
        print(f"all was there after {time.monotonic() - begun:.1f} s")
        leecher.close()
    [conversation] = between.conversations
    check(conversation)
