"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

from seeder import __version__
from seeder.config.sections import Config, PeerSettings
from seeder.errors import ConfigError
from seeder.gateway.naming import object_path
from seeder.net.addresses import HostPort
from seeder.torrent.catalog import Torrent
from seeder.torrent.info import InfoHash, torrent_file
from seeder.torrent.objects import ObjectRef, PinnedBundle

CREATED_BY = f"seeder {__version__}"


def announce_url(config: Config, port: int) -> str:
    """Return the URL that torrents name; ConfigError when nothing tells where clients reach us.

    `port` is the tracker listener's.
    """
    if config.tracker.announce_url is not None:
        return config.tracker.announce_url
    hosts = [address.host for address in config.tracker.listen]
    if config.peer.public_address is not None:
        hosts.append(config.peer.public_address.host)
    for host in hosts:
        if host not in ("0.0.0.0", "::"):
            return f"http://{HostPort(host, port)}/announce"
    raise ConfigError(
        [
            "tracker.announce_url: is missing, and no other address says where clients reach the"
            f' tracker; set it, such as "http://tracker.example.org:{port}/announce"'
        ]
    )


def gateway_url(config: Config, announce: str) -> str:
    """Return what stands before /BUCKET/KEY where clients reach us, without a trailing slash."""
    if config.gateway.url is not None:
        return config.gateway.url
    # Objects lie beside the tracker's page, whatever a proxy puts before both.
    parts = urlsplit(announce)
    before, found, _ = parts.path.rpartition("/announce")
    path = before if found else parts.path.rpartition("/")[0]
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def web_seed_url(config: Config, announce: str) -> str | None:
    """Return the `gateway_url` that torrents name as their web seed's; None where it is off."""
    return gateway_url(config, announce) if config.gateway.web_seed else None


def object_url(before: str, ref: ObjectRef) -> str:
    """Return the URL of an object; `before` is the `gateway_url`."""
    return before + object_path(ref.bucket, ref.key)


def web_seeds_of(torrent: Torrent, before: str | None) -> list[str]:
    """Return the web seeds that a torrent names.

    None if it is private, for clients may know no other source, and none of a bundle, whose files
    are not called as their keys.
    """
    if before is None or torrent.private or isinstance(torrent.pinned, PinnedBundle):
        return []
    return [object_url(before, torrent.pinned.ref)]


def torrent_file_of(torrent: Torrent, announce: str, web_seed: str | None = None) -> bytes:
    """Return the torrent file; the same torrent gives the same bytes every time.

    `web_seed` is the `web_seed_url`. StorageError or MetainfoError where what is on disk can't be
    read: the info, or a hybrid's piece layer.
    """
    return torrent_file(
        torrent.raw_info,
        announce=[announce],
        created_by=CREATED_BY,
        # It would make every copy another file.
        creation_date=None,
        url_list=web_seeds_of(torrent, web_seed),
        piece_layers=torrent.hashes.piece_layers() if torrent.hashes is not None else None,
    )


def magnet_of(
    torrent: Torrent,
    announce: str,
    peer: PeerSettings,
    web_seed: str | None = None,
    *,
    name: str | None = None,
) -> str:
    """Return the magnet link; with our own address as x.pe where it is known.

    `name` is shown until the metadata is there; None is the torrent's own.
    """
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(
        torrent.info_hash,
        name=name or torrent.info.name,
        trackers=[announce],
        peers=peers,
        web_seeds=web_seeds_of(torrent, web_seed),
        v2_hash=torrent.v2_hash,
    )


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
