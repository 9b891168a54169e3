"""Magnet links (BEP 9, 52). No I/O."""

from collections.abc import Sequence
from urllib.parse import quote

from seeder.torrent.info import InfoHash

_SHA256 = "1220"
"""The multihash prefix: the function and its 32 bytes."""


def magnet_link(
    info_hash: InfoHash,
    *,
    name: str,
    trackers: Sequence[str],
    peers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    v2_hash: bytes | None = None,
) -> str:
    """Return the magnet link of a torrent; `peers` are "host:port", IPv6 in brackets.

    `v2_hash` is the SHA-256 of a hybrid's info, 32 bytes.
    """
    fields = [f"xt=urn:btih:{info_hash.hex()}"]
    if v2_hash is not None:
        fields.append(f"xt=urn:btmh:{_SHA256}{v2_hash.hex()}")
    fields.append(f"dn={quote(name, safe='')}")
    fields += [f"tr={quote(url, safe='')}" for url in trackers]
    fields += [f"ws={quote(url, safe='')}" for url in web_seeds]
    # libtorrent reads x.pe without unescaping it: an escaped colon or bracket loses the peer.
    fields += [f"x.pe={quote(peer, safe=':[]')}" for peer in peers]
    return "magnet:?" + "&".join(fields)
