"""Where clients reach us: the URLs, and the torrent files and magnet links that they stand in."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from seeder import __version__
from seeder.config.sections import Config
from seeder.errors import ConfigError
from seeder.gateway.files import files_key
from seeder.gateway.keyed import keyed_path
from seeder.gateway.naming import object_path, quoted_key
from seeder.http.certificates import covers
from seeder.net.addresses import HostPort
from seeder.torrent.info import InfoHash, torrent_file
from seeder.torrent.objects import ObjectRef, PinnedBundle
from seeder.torrent.torrent import Torrent

CREATED_BY = f"seeder {__version__}"
_SHA256 = "1220"
"""The multihash prefix: the function, and the digest's length of 32 bytes."""


@dataclass(slots=True)
class Links:
    """The addresses of a node, and the links to torrents and objects that are made of them.

    A reload may change the addresses: nobody keeps a copy of them.
    """

    announce: str
    """The announce URL that torrents name."""
    gateway: str
    """The URL before /BUCKET/KEY, without a trailing slash."""
    web_seed: bool = False
    """Whether public torrents name the gateway as their web seed (BEP 19)."""
    mirrors: Sequence[str] = ()
    """Templates of the URLs of other web seeds."""
    udp_port: int = 0
    """Where the tracker is asked by UDP on the same host; 0 is nowhere."""
    udp_announce: str | None = None
    """The URL for that, if it is another than these two make up."""
    other_trackers: Sequence[str] = ()
    """The announce URLs of others that torrents name, too, unless they are private."""
    peers: Sequence[HostPort] = ()
    """Our own addresses for peers, where they are known: libtorrent leaves names out."""

    @classmethod
    def of(cls, config: Config, announce: str, *, udp_port: int = 0) -> "Links":
        """Return the links of a configuration whose torrents name the announce URL `announce`.

        `udp_port` is where the tracker is asked by UDP, if anywhere.
        """
        return cls(
            announce,
            gateway_url(config, announce),
            web_seed=config.gateway.web_seed,
            mirrors=config.gateway.web_seeds,
            udp_port=udp_port,
            udp_announce=config.tracker.udp_announce_url,
            other_trackers=config.tracker.announce_list,
            peers=config.peer.public_address,
        )

    def follow(self, config: Config, announce: str) -> bool:
        """Take the addresses of a configuration with another [peer]; tell whether URLs changed."""
        before = self.announce, self.gateway
        self.announce, self.gateway = announce, gateway_url(config, announce)
        self.peers = config.peer.public_address
        return before != (self.announce, self.gateway)

    def trackers(self, torrent: Torrent, passkey: str | None = None) -> list[list[str]]:
        """Return the announce URLs that a torrent names, in tiers (BEP 12); ours are the first.

        A private torrent's peers are found at our tracker alone (BEP 27). One that is made for the
        holder of a passkey names HTTP only: most clients don't tell UDP trackers the path (BEP 41).
        """
        if passkey is not None:
            parts = urlsplit(self.announce)
            return [[urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{passkey}"))]]
        ours = [self.announce]
        if self.udp_announce:
            ours.append(self.udp_announce)
        elif self.udp_port:
            host = urlsplit(self.announce).hostname or ""
            ours.append(f"udp://{HostPort(host, self.udp_port)}/announce")
        return [ours] if torrent.private else [ours, *([url] for url in self.other_trackers)]

    def object_url(self, ref: ObjectRef) -> str:
        """Return the URL of an object."""
        return self.gateway + object_path(ref.bucket, ref.key)

    def download_url(self, torrent: Torrent) -> str | None:
        """Return where a torrent's object is to be had over HTTP; None for a bundle's objects.

        None as well without a web seed.
        """
        pinned = torrent.pinned
        if not self.web_seed or isinstance(pinned, PinnedBundle):
            return None
        return self.object_url(pinned.ref)

    def torrent_file(self, torrent: Torrent, *, public: bool, passkey: str | None = None) -> bytes:
        """Return the torrent file; the same torrent gives the same bytes every time.

        `passkey` is the key of whom it is made for, if its swarm takes one.
        StorageError or MetainfoError where what is on disk can't be read: the info, or a hybrid's
        piece layer.
        """
        return torrent_file(
            torrent.raw_info,
            trackers=self.trackers(torrent, passkey),
            created_by=CREATED_BY,
            url_list=self._web_seeds(torrent, public, passkey),
            piece_layers=torrent.hashes.piece_layers() if torrent.hashes is not None else None,
            similar=torrent.similar,
            collections=_collections(torrent),
        )

    def magnet(self, torrent: Torrent, *, public: bool, name: str | None = None) -> str:
        """Return the magnet link.

        Clients show `name` until they have the metadata; None is the torrent's own name, for which
        its info may be read from disk (StorageError, MetainfoError).
        """
        return magnet_link(
            torrent.info_hash,
            name=name or torrent.info.name,
            trackers=[url for tier in self.trackers(torrent) for url in tier],
            peers=self.peers,
            web_seeds=self._web_seeds(torrent, public),
            v2_hash=torrent.v2_hash,
        )

    def _web_seeds(self, torrent: Torrent, public: bool, passkey: str | None = None) -> list[str]:
        """Return the web seeds that a torrent names: ours, of its object or files, and mirrors.

        Nothing unless the object is public: BitTorrent clients don't sign. Nothing if the torrent
        is private (BEP 27): clients may use no other source. But one that is made for the holder of
        a passkey names a path of ours that the key opens. To a bundle's URL, which ends with a
        slash, they append the torrent's name and a file's path.
        """
        if passkey is not None:
            return [f"{self.gateway}{keyed_path(passkey)}{_path(torrent)}"] * self.web_seed
        if not public or torrent.private:
            return []
        ours = [f"{self.gateway}{_path(torrent)}"] * self.web_seed
        if isinstance(torrent.pinned, PinnedBundle):
            # Mirrors have no pads, which some clients ask for, and name files by their keys.
            return ours
        return ours + [_filled(template, torrent.pinned.ref) for template in self.mirrors]


def _path(torrent: Torrent) -> str:
    """Return the path of a torrent's object, or what stands before those of a bundle's files."""
    ref = torrent.pinned.ref
    if not isinstance(torrent.pinned, PinnedBundle):
        return object_path(ref.bucket, ref.key)
    return f"{object_path(ref.bucket, files_key(ref.key).removesuffix('/'))}/"


def _filled(template: str, ref: ObjectRef) -> str:
    bucket, key = quote(ref.bucket, safe="~"), quoted_key(ref.key)
    return template.replace("{bucket}", bucket).removesuffix("{key}") + key


def _collections(torrent: Torrent) -> list[str]:
    """Return the collections of a torrent (BEP 38): all states of a bundle make up one."""
    pinned = torrent.pinned
    return [str(pinned.ref)] if isinstance(pinned, PinnedBundle) else []


def announce_url(config: Config, port: int, names: Sequence[str] = ()) -> str:
    """Return the URL that torrents name; ConfigError when nothing tells where clients reach us.

    `port` is the tracker listener's, the one with TLS if there is one; `names` are those of the
    certificate: clients believe it for no other host.
    """
    tracker = config.tracker
    if tracker.announce_url is not None:
        return tracker.announce_url
    addresses = (*tracker.main_listen, *config.peer.public_address)
    hosts = [each.host for each in addresses if each.host not in ("0.0.0.0", "::")]
    if tracker.tls:
        certified = [host for host in hosts if covers(names, host)]
        certified += [name for name in names if not name.startswith("*.")]
        for host in certified or hosts:
            place = str(HostPort(host, port)).removesuffix(":443")
            return f"https://{place}/announce"
    for host in hosts:
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


def magnet_link(
    info_hash: InfoHash,
    *,
    name: str,
    trackers: Sequence[str],
    peers: Sequence[HostPort],
    web_seeds: Sequence[str],
    v2_hash: bytes | None,
) -> str:
    """Return the magnet link of a torrent (BEP 9); `trackers` and `web_seeds` are URLs.

    `v2_hash` is the SHA-256 of a hybrid's info, 32 bytes.
    """
    fields = [f"xt=urn:btih:{info_hash.hex()}"]
    if v2_hash is not None:
        fields.append(f"xt=urn:btmh:{_SHA256}{v2_hash.hex()}")
    fields.append(f"dn={quote(name, safe='')}")
    fields += [f"tr={quote(url, safe='')}" for url in trackers]
    fields += [f"ws={quote(url, safe='')}" for url in web_seeds]
    # libtorrent reads x.pe without unescaping it: an escaped colon or bracket loses the peer.
    fields += [f"x.pe={quote(str(peer), safe=':[]')}" for peer in peers]
    return "magnet:?" + "&".join(fields)
