"""[tracker], [peer], [gateway] and [[gateway.keys]]: what is open to the public."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ValidationInfo, field_validator

from seeder.config.fields import (
    AnyPath,
    Copies,
    Credential,
    ListenAddress,
    Rate,
    Settings,
    SlotCount,
    Time,
    array,
    checked,
    choice,
    count,
    one_or_more,
    parsed,
    text,
    written,
)
from seeder.config.groups import parse_groups
from seeder.config.texts import (
    check_announce_url,
    check_domain,
    check_families,
    check_gateway_url,
    check_tracker_url,
    check_udp_announce_url,
    check_web_seed,
    parse_network,
    parse_public_address,
)
from seeder.net.addresses import HostPort, IPNetwork
from seeder.net.doors import NetworkRules

Encryption: TypeAlias = Literal["allow", "require", "off"]
ENCRYPTION: tuple[Encryption, ...] = ("allow", "require", "off")
SuperSeeding: TypeAlias = Literal["auto", "off"]
SUPER_SEEDING: tuple[SuperSeeding, ...] = ("auto", "off")
_PublicAddress = Annotated[HostPort, parsed(parse_public_address, HostPort)]
_PublicAddresses = Annotated[
    tuple[_PublicAddress, ...],
    one_or_more(parse_public_address, HostPort),
    AfterValidator(check_families),
]
_Network = Annotated[IPNetwork, parsed(parse_network, IPNetwork)]
_Networks = Annotated[tuple[_Network, ...], array('["192.0.2.0/24", "2001:db8::/32"]')]


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

    listen: Annotated[tuple[ListenAddress, ...], array('["0.0.0.0:6969"]', least=1)] = (
        HostPort("0.0.0.0", 6969),
    )
    tls_certificate: AnyPath | None = None
    """The certificate and those that lead to a root, with which `listen` (or `tls_listen`) speaks
    TLS."""
    tls_key: AnyPath | None = None
    tls_certificate_credential: Credential | None = None
    tls_key_credential: Credential | None = None
    tls_listen: Annotated[tuple[ListenAddress, ...], array('["0.0.0.0:443"]')] = ()
    """Where it is asked by TLS, so that `listen` stays without."""
    announce_url: Annotated[str, checked(check_announce_url)] | None = None
    """What torrents name; None derives it from the addresses when a torrent is written."""
    udp_listen: Annotated[tuple[ListenAddress, ...], array('["0.0.0.0:6969"]')] = ()
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

    listen: Annotated[tuple[ListenAddress, ...], array('["0.0.0.0:6881"]', least=1)] = (
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
    secret_credential: Credential | None = None
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
