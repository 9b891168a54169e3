"""The sections of the configuration; `seeder.config.load` reads them from a file.

Python code may build them by itself; `seeder.config.fields` says how it passes each value.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ValidationInfo,
    field_validator,
)

from seeder.config.events import EventSettings
from seeder.config.fields import (
    AnyPath,
    ByteLimit,
    Copies,
    Currency,
    Directory,
    ExistingFile,
    KeyPrefix,
    Moment,
    MoneyLimit,
    ObjectKey,
    PathOrOff,
    Price,
    PriceByVolume,
    Rate,
    RequestLimit,
    Settings,
    SlotCount,
    Time,
    Token,
    array,
    checked,
    choice,
    count,
    one_or_more,
    parsed,
    size,
    source_of,
    text,
    written,
)
from seeder.config.groups import parse_groups
from seeder.config.texts import (
    check_announce_url,
    check_domain,
    check_endpoint,
    check_families,
    check_gateway_url,
    check_store,
    check_tracker_url,
    check_udp_announce_url,
    check_web_seed,
    one_of,
    parse_host_port,
    parse_network,
    parse_public_address,
)
from seeder.net.addresses import HostPort, IPNetwork
from seeder.net.doors import NetworkRules
from seeder.torrent.layout import LARGEST_PIECE_LENGTH, SMALLEST_PIECE_LENGTH
from seeder.torrent.objects import ObjectRef
from seeder.units import GIB, MIB

DEFAULT_ORIGIN = "default"
CONTROL_SOCKET = "control.sock"
"""Below the state directory, unless [admin] says where else."""
MOST_OBJECTS = 1_000_000

Rung: TypeAlias = Literal["origin", "sidecar", "checksums", "build"]
Verify: TypeAlias = Literal["sample", "all"]
RUNGS: tuple[Rung, ...] = ("origin", "sidecar", "checksums", "build")
Encryption: TypeAlias = Literal["allow", "require", "off"]
ENCRYPTION: tuple[Encryption, ...] = ("allow", "require", "off")
SuperSeeding: TypeAlias = Literal["auto", "off"]
SUPER_SEEDING: tuple[SuperSeeding, ...] = ("auto", "off")
VERIFY: tuple[Verify, ...] = ("sample", "all")
TorrentFormat: TypeAlias = Literal["v1", "hybrid"]
TORRENT_FORMATS: tuple[TorrentFormat, ...] = ("v1", "hybrid")
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
LOG_ROOMS = (
    *("admin", "cache", "cluster", "config", "control", "daemon", "events", "gateway", "http"),
    *("ledger", "metainfo", "net", "peer", "publish", "s3", "torrent", "tracker", "upload"),
)
"""Parts of the program whose lines may have a level of their own."""
_PieceLength = Annotated[
    int, size(least=SMALLEST_PIECE_LENGTH, most=LARGEST_PIECE_LENGTH, power_of_two=True)
]
_Address = Annotated[HostPort, parsed(parse_host_port, HostPort)]
_PublicAddress = Annotated[HostPort, parsed(parse_public_address, HostPort)]
_PublicAddresses = Annotated[
    tuple[_PublicAddress, ...],
    one_or_more(parse_public_address, HostPort),
    AfterValidator(check_families),
]
_Network = Annotated[IPNetwork, parsed(parse_network, IPNetwork)]
_Networks = Annotated[tuple[_Network, ...], array('["192.0.2.0/24", "2001:db8::/32"]')]
_Credential = Annotated[str, text("[A-Za-z0-9._-]+", "the name of a systemd credential", 255)]


class OriginSettings(Settings):
    """[origin] or [origins.NAME]: one S3 server and how to ask it. Credentials are not here."""

    name: str = DEFAULT_ORIGIN
    endpoint: Annotated[str, checked(check_endpoint)] | None = None
    """Without a trailing slash; None is AWS, by region."""
    region: Annotated[str, text("[A-Za-z0-9._-]+", "a region's name")] = "us-east-1"
    path_style: bool = False
    anonymous: bool = False
    profile: Token | None = None
    request_payer: bool = False
    expected_bucket_owner: Token | None = None
    # Each may hold a range of 8 MiB in memory.
    connections: Annotated[int, count(1, 32)] = 16
    ca_file: ExistingFile | None = None

    @field_validator("profile")
    @classmethod
    def _one_way_to_sign(cls, profile: str | None, info: ValidationInfo) -> str | None:
        if profile is not None and info.data.get("anonymous"):
            raise ValueError("want either anonymous = true or a profile, not both")
        return profile


class ObjectSettings(Settings):
    """[[objects]]: what to publish, an object or all below a prefix, and where metainfo comes from.

    It has either a `key` or a `prefix`; `seeder.config.load` checks that it has one.
    """

    origin: str = DEFAULT_ORIGIN
    # Old AWS names may be long or hold capitals; Ceph writes TENANT:BUCKET.
    bucket: Annotated[
        str, text("[A-Za-z0-9][A-Za-z0-9._:-]*", "the name of a bucket, without a slash", 255)
    ]
    key: ObjectKey | None = None
    prefix: KeyPrefix | None = None
    """What the keys of all its objects begin with; "" is the whole bucket."""
    max_objects: Annotated[int, count(1, MOST_OBJECTS)] = 10_000
    """Below the prefix; if there are more, none is published."""
    version_id: Token | None = None
    metainfo: Annotated[
        tuple[Annotated[Rung, choice(RUNGS)], ...], array('["origin", "build"]', least=1)
    ] = RUNGS
    torrent_file: ExistingFile | None = None
    piece_length: _PieceLength | None = None
    """Bytes; None: chosen by the object's size."""
    private: bool = False
    public: bool | None = None
    """Whether anybody may fetch the torrent; None means that anybody may unless it is private."""
    format: Annotated[TorrentFormat, choice(TORRENT_FORMATS)] = "v1"
    verify: Annotated[Verify, choice(VERIFY)] = "sample"
    refresh: Time = 600.0
    publish_at: Moment | None = None
    """Until then nobody hears of it (Unix s); None publishes it at once."""
    bundle: bool = False
    """Whether there is one torrent of all objects below the prefix, not one for each."""
    warm: bool = False
    """Whether all of its pieces are read into the cache ahead."""
    write_sidecar: bool = False
    """Whether the torrent is put beside the object, as KEY.torrent."""

    @property
    def ref(self) -> ObjectRef:
        """The object, as the rest of the program names it; its key may be a prefix."""
        key = self.prefix if self.key is None else self.key
        return ObjectRef(self.origin, self.bucket, key or "", self.version_id)

    def of(self, key: str) -> "ObjectSettings":
        """Return the section of one object below the prefix."""
        return self.model_copy(update={"key": key, "prefix": None})

    @property
    def is_public(self) -> bool:
        """Whether anybody may fetch the torrent."""
        return not self.private if self.public is None else self.public

    @field_validator("origin", mode="before")
    @classmethod
    def _known_origin(cls, name: object, info: ValidationInfo) -> object:
        source = source_of(info)
        return one_of(str(name), sorted(source.origins)) if source else name

    @field_validator("prefix")
    @classmethod
    def _key_or_prefix(cls, prefix: str | None, info: ValidationInfo) -> str | None:
        if prefix is not None and info.data.get("key") is not None:
            raise ValueError("want either a key or a prefix, not both")
        return prefix

    @field_validator("max_objects", "version_id", "torrent_file")
    @classmethod
    def _goes_along(cls, value: object, info: ValidationInfo) -> object:
        has_prefix = info.data.get("prefix") is not None
        if info.field_name == "max_objects" and not has_prefix:
            raise ValueError("goes with a prefix, and this is one object")
        if info.field_name != "max_objects" and value is not None and has_prefix:
            raise ValueError("goes with a key, and this is a prefix of many")
        return value

    @field_validator("bundle")
    @classmethod
    def _bundles_are_built(cls, bundle: bool, info: ValidationInfo) -> bool:
        if bundle and info.data.get("prefix", "") is None:
            raise ValueError("goes with a prefix, and this is one object")
        if bundle and "build" not in info.data.get("metainfo", ("build",)):
            raise ValueError('want "build" in metainfo: there is no other torrent of a prefix')
        if bundle and info.data.get("format") == "hybrid":
            raise ValueError('goes with format = "v1" only: bundles can\'t be hybrids')
        return bundle

    @field_validator("write_sidecar")
    @classmethod
    def _sidecars_are_for_all(cls, write: bool, info: ValidationInfo) -> bool:
        told = info.data
        if write and (told.get("bundle") or told.get("version_id") is not None):
            raise ValueError("goes with objects in their newest version, and not with a bundle")
        public = told.get("public")
        if write and not (not told.get("private") if public is None else public):
            raise ValueError(
                "want public = true, too: who may read the object in S3 can read the torrent there"
            )
        return write

    @field_validator("metainfo")
    @classmethod
    def _each_rung_once(cls, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
        if len(set(rungs)) < len(rungs):
            raise ValueError("want each source once")
        return rungs


class _Doored(Settings):
    """What the sections have in common whose clients may be let in by network."""

    allow: _Networks = ()
    """Nobody else is let in; if it is empty, everybody is."""
    deny: _Networks = ()
    """Who isn't let in, though `allow` has them."""

    @property
    def rules(self) -> NetworkRules:
        """Both lists together."""
        return NetworkRules(self.allow, self.deny)


class TrackerSettings(_Doored):
    """[tracker]: where clients announce, and what they are told."""

    listen: Annotated[tuple[_Address, ...], array('["0.0.0.0:6969"]', least=1)] = (
        HostPort("0.0.0.0", 6969),
    )
    tls_certificate: AnyPath | None = None
    """The certificate and those that lead to a root, with which `listen` (or `tls_listen`) speaks
    TLS."""
    tls_key: AnyPath | None = None
    tls_certificate_credential: _Credential | None = None
    tls_key_credential: _Credential | None = None
    tls_listen: Annotated[tuple[_Address, ...], array('["0.0.0.0:443"]')] = ()
    """Where it is asked by TLS, so that `listen` stays without."""
    announce_url: Annotated[str, checked(check_announce_url)] | None = None
    """What torrents name; None derives it from the addresses when a torrent is written."""
    udp_listen: Annotated[tuple[_Address, ...], array('["0.0.0.0:6969"]')] = ()
    """Where it is asked by UDP (BEP 15), too."""
    udp_announce_url: Annotated[str, checked(check_udp_announce_url)] | None = None
    """What torrents name for that; None is the host of announce_url and the port listened on."""
    announce_list: Annotated[
        tuple[Annotated[str, checked(check_tracker_url)], ...],
        array('["udp://tracker.example.net:6969/announce"]'),
    ] = ()
    """Trackers of others, which torrents name behind ours (BEP 12)."""
    interval: Time = 1800.0
    peers_per_address: Annotated[int, count(1, 100_000)] = 32
    """In one swarm."""
    trusted_proxies: Annotated[tuple[_Network, ...], array('["10.0.0.5"]')] = ()
    """Networks of reverse proxies whose X-Forwarded-For is believed."""
    groups: Annotated[Mapping[str, tuple[IPNetwork, ...]], written(parse_groups)] = {}
    """Networks by the names of groups: peers hear of those of their own first."""
    passkey_valid: Time = 30 * 86_400.0
    """How long passkeys are good that are made without another word about it."""
    passkey_secret_file: AnyPath | None = None
    """What passkeys are signed with; None is a secret that is made in the state directory."""

    @property
    def tls(self) -> bool:
        """Whether it is asked by TLS."""
        return self.tls_certificate is not None or self.tls_certificate_credential is not None

    @property
    def main_listen(self) -> tuple[HostPort, ...]:
        """The addresses that torrents name one of: those with TLS, if there are any."""
        return self.tls_listen or self.listen

    @field_validator("tls_certificate_credential", "tls_key_credential")
    @classmethod
    def _one_place(cls, credential: str | None, info: ValidationInfo) -> str | None:
        name = str(info.field_name).removesuffix("_credential")
        if credential is not None and info.data.get(name) is not None:
            raise ValueError(f"want either {name} or {name}_credential, not both")
        return credential


class PeerSettings(_Doored):
    """[peer]: where leechers connect."""

    listen: Annotated[tuple[_Address, ...], array('["0.0.0.0:6881"]', least=1)] = (
        HostPort("0.0.0.0", 6881),
    )
    public_address: _PublicAddresses = ()
    """What the tracker hands out as our seeder's: one of each family, or names. Of a family that
    has none, clients are told the address that they reached."""
    upload_rate: Rate = None
    """Bytes a second to all peers together; None is unlimited."""
    upload_rate_per_torrent: Rate = None
    upload_rate_per_peer: Rate = None
    encryption: Annotated[Encryption, choice(ENCRYPTION)] = "allow"
    upload_slots: SlotCount = "auto"
    thrifty: bool = True
    """Whether requests for a piece that another peer can supply are delayed a little."""
    copies_per_address: Copies = 4.0
    """Copies of one torrent that are sent to one address; None is unlimited."""
    origin_copies_per_address: Copies = 1.25
    """Copies of one torrent that are read from S3 for one address; None is unlimited."""
    super_seeding: Annotated[SuperSeeding, choice(SUPER_SEEDING)] = "auto"
    connections: Annotated[int, count(1, 1_000_000)] = 2000
    connections_per_torrent: Annotated[int, count(1, 1_000_000)] = 1000
    connections_per_address: Annotated[int, count(1, 1_000_000)] = 20
    """Of one IPv4 address or one IPv6 /64, in all torrents together."""


class ReadKeySettings(Settings):
    """[[gateway.keys]]: an access key with which objects that are not public are read.

    Its secret is in a file or a systemd credential, which `seeder.gateway.keys` reads.
    """

    access_key_id: Annotated[
        str, text("[A-Za-z0-9._-]{3,128}", "an access key id of 3 to 128 letters, digits, . _ -")
    ]
    secret_file: AnyPath | None = None
    secret_credential: _Credential | None = None
    objects: Annotated[
        tuple[Annotated[str, text("[^/]+/.+", 'objects such as "quotes/*"', 2048)], ...],
        array('["quotes/*"]', least=1),
    ]
    """BUCKET/KEY each, with `*` for any characters, slashes too."""

    @field_validator("secret_credential")
    @classmethod
    def _one_secret(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("secret_file") is not None:
            raise ValueError("want either a secret_file or a secret_credential, not both")
        return credential


class GatewaySettings(_Doored):
    """[gateway]: what the public listener serves as S3 would, and to whom."""

    url: Annotated[str, checked(check_gateway_url)] | None = None
    """The URL before /BUCKET/KEY; None is what stands before /announce."""
    domains: Annotated[
        tuple[Annotated[str, checked(check_domain)], ...], array('["torrents.example.org"]')
    ] = ()
    """For each of these, BUCKET.DOMAIN is a bucket's host."""
    listing: bool = False
    web_seed: bool = False
    """Whether GET /BUCKET/KEY gives the object, and torrents name that URL (BEP 19)."""
    web_seeds: Annotated[
        tuple[Annotated[str, checked(check_web_seed)], ...],
        array('["https://mirror.example.net/{bucket}/{key}"]'),
    ] = ()
    """Other places that have the same objects; torrents of public ones name them, too."""
    keys: Annotated[tuple[ReadKeySettings, ...], array("[[gateway.keys]]")] = ()


class CacheSettings(Settings):
    """[cache]: byte budgets of the two tiers; a disk of 0 keeps pieces in memory only."""

    directory: Directory
    memory: Annotated[int, size()] = 256 * MIB
    disk: Annotated[int, size()] = 50 * GIB


class AdminSettings(Settings):
    """[admin]: the status page, metrics and health, where an empty list turns them off; and the
    control API, by a UNIX socket and, with a token, on the same addresses.

    The token is in a file or a systemd credential, which `seeder.control.tokens` reads.
    """

    listen: Annotated[tuple[_Address, ...], array('["127.0.0.1:9180"]')] = (
        HostPort("127.0.0.1", 9180),
    )
    hosts: Annotated[
        tuple[Annotated[str, checked(check_domain)], ...], array('["status.example.org"]')
    ] = ()
    """Names by which browsers and monitoring reach it; IP addresses and localhost need none."""
    metrics_objects: Annotated[int, count(0, 100_000)] = 200
    """The most objects that have metrics of their own; of more, only sums are told."""
    socket: PathOrOff = None
    """Where the node is told what to do; None is a socket in the state directory."""
    token_file: AnyPath | None = None
    token_credential: _Credential | None = None

    def control_socket(self, state_directory: Path) -> Path | None:
        """Return the path of the socket, by where the node's state is; None if it has none."""
        if self.socket is None:
            return state_directory / CONTROL_SOCKET
        return None if self.socket == "off" else self.socket

    @field_validator("token_credential")
    @classmethod
    def _one_token(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("token_file") is not None:
            raise ValueError("want either a token_file or a token_credential, not both")
        return credential


class ClusterSettings(Settings):
    """[cluster]: the nodes that share their swarms and limits through one Redis.

    Its password is in a file or a systemd credential, which `seeder.cluster.password` reads.
    """

    store: Annotated[str, checked(check_store)] | None = None
    """The Redis; None is a node by itself."""
    name: (
        Annotated[str, text("[A-Za-z0-9._:@-]+", "a name of letters, digits, . _ : @ -", 100)]
        | None
    ) = None
    """This node's, unlike any other's; None is the host's name and the port of [peer]."""
    replicas: Annotated[int, count(1, 100)] = 2
    """Nodes that read and seed each object."""
    url: Annotated[str, checked(check_gateway_url)] | None = None
    """Where clients reach this node and no other, before /BUCKET/KEY; they are sent there by nodes
    that don't have the object. None: those read it from S3 themselves."""
    prefix: Annotated[str, text("[A-Za-z0-9._:-]+", "letters, digits, . _ : -", 100)] = "seeder"
    """What our keys in Redis begin with: clusters that share one have a prefix each."""
    password_file: AnyPath | None = None
    password_credential: (
        Annotated[str, text("[A-Za-z0-9._-]+", "the name of a systemd credential", 255)] | None
    ) = None
    ca_file: ExistingFile | None = None
    """Whose certificates are trusted at a rediss:// URL; None is the system's."""

    @field_validator("password_credential")
    @classmethod
    def _one_password(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("password_file") is not None:
            raise ValueError("want either a password_file or a password_credential, not both")
        return credential


class SavingsSettings(Settings):
    """[savings]: what the origin charges, in any currency; a GB is 2^30 bytes, as S3 bills it."""

    price_per_gb: PriceByVolume = 0.09
    """One price, or each with the bytes of a calendar month (UTC) from which on it holds."""
    price_per_1000_requests: Price = 0.0004
    currency: Currency = ""
    """What amounts of money are shown with."""


class BudgetSettings(Settings):
    """[budget]: what a day and a month (UTC) may cost; None sets no limit.

    Money is counted at the prices of [savings]: origin bytes and requests, or uploaded bytes.
    """

    origin_bytes_per_day: ByteLimit = None
    origin_bytes_per_month: ByteLimit = None
    origin_requests_per_day: RequestLimit = None
    origin_requests_per_month: RequestLimit = None
    origin_money_per_day: MoneyLimit = None
    origin_money_per_month: MoneyLimit = None
    uploaded_bytes_per_day: ByteLimit = None
    uploaded_bytes_per_month: ByteLimit = None
    uploaded_money_per_day: MoneyLimit = None
    uploaded_money_per_month: MoneyLimit = None

    def amounts(self) -> dict[str, float | None]:
        """Return every key with its amount."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def _log_levels(value: object) -> object:
    """Return a table of levels by room."""
    if not isinstance(value, dict):
        raise ValueError('want levels by room, such as { peer = "warning" }')
    for room, level in value.items():
        try:
            one_of(str(room), LOG_ROOMS)
            one_of(level if isinstance(level, str) else "", LOG_LEVELS)
        except ValueError as error:
            raise ValueError(f'{error}, and there is {room} = "{level}"'[:400]) from None
    return value


class LogSettings(Settings):
    """[log]: from which level up lines are logged."""

    level: Annotated[LogLevel, choice(LOG_LEVELS)] = "info"
    levels: Annotated[dict[str, LogLevel], BeforeValidator(_log_levels)] = {}  # noqa: RUF012
    """By room, where it isn't `level`."""


class Config(Settings):
    """A whole configuration."""

    state_directory: Directory
    watch: bool = False
    """Whether the file is taken up by itself when it changes."""
    origins: dict[str, OriginSettings]
    """By name; [origin] is "default"."""
    objects: tuple[ObjectSettings, ...]
    events: tuple[EventSettings, ...] = ()
    tracker: TrackerSettings = TrackerSettings()
    peer: PeerSettings = PeerSettings()
    gateway: GatewaySettings = GatewaySettings()
    cache: CacheSettings
    admin: AdminSettings = AdminSettings()
    cluster: ClusterSettings = ClusterSettings()
    savings: SavingsSettings = SavingsSettings()
    budget: BudgetSettings = BudgetSettings()
    log: LogSettings = LogSettings()

    @property
    def control_socket(self) -> Path | None:
        """Where the node is told what to do; None if it is to have no socket for that."""
        return self.admin.control_socket(self.state_directory)
