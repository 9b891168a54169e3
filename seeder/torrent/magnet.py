"""Magnet links (BEP 9). No I/O."""

from collections.abc import Sequence
from urllib.parse import quote

from seeder.torrent.metainfo import InfoHash


def magnet_link(
    info_hash: InfoHash,
    *,
    name: str,
    trackers: Sequence[str],
    peers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
) -> str:
    """Return the magnet link of a v1 torrent; `peers` are "host:port", IPv6 in brackets."""
    fields = [f"xt=urn:btih:{info_hash.hex()}", f"dn={quote(name, safe='')}"]
    fields += [f"tr={quote(url, safe='')}" for url in trackers]
    fields += [f"ws={quote(url, safe='')}" for url in web_seeds]
    # libtorrent reads x.pe without unescaping it: an escaped colon or bracket loses the peer.
    fields += [f"x.pe={quote(peer, safe=':[]')}" for peer in peers]
    return "magnet:?" + "&".join(fields)
