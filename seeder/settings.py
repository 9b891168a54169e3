"""The sections of the configuration; `seeder.config` reads them from a file.

In a file a value is a text, read together with its `Document`. Python code that builds a section
by itself may pass the parsed value instead: 1024 for "1 KiB", 30.0 for "30s".
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from seeder.torrent.catalog import ObjectRef
from seeder.torrent.layout import KIB, LARGEST_PIECE_LENGTH, MIB
from seeder.values import (
    GIB,
    LARGEST_SIZE,
    Address,
    Network,
    check_announce_url,
    check_domain,
    check_endpoint,
    check_gateway_url,
    one_of,
    parse_address,
    parse_network,
    parse_public_address,
    parse_rate,
    parse_size,
    parse_time,
    show_size,
)

DEFAULT_ORIGIN = "default"
SMALLEST_PIECE = 16 * KIB  # a block, the least that peers request (BEP 3)
LARGEST_SUM = 10**15
LONGEST_KEY = 1024  # bytes of UTF-8, S3's own limit
MOST_OBJECTS = 1_000_000

Rung: TypeAlias = Literal["origin", "sidecar", "checksums", "build"]
Verify: TypeAlias = Literal["sample", "all"]
RUNGS: tuple[Rung, ...] = ("origin", "sidecar", "checksums", "build")
Encryption: TypeAlias = Literal["allow", "require", "off"]
ENCRYPTION: tuple[Encryption, ...] = ("allow", "require", "off")
SuperSeeding: TypeAlias = Literal["auto", "off"]
UploadSlots: TypeAlias = int | Literal["auto", "unlimited"]
SUPER_SEEDING: tuple[SuperSeeding, ...] = ("auto", "off")
VERIFY: tuple[Verify, ...] = ("sample", "all")
Format: TypeAlias = Literal["v1", "hybrid"]
FORMATS: tuple[Format, ...] = ("v1", "hybrid")


@dataclass(frozen=True, slots=True)
class Document:
    """The file that values come from: where relative paths start, which origins it names."""

    directory: Path
    origins: frozenset[str]


def _document(info: ValidationInfo) -> Document | None:
    return info.context if isinstance(info.context, Document) else None


def _parsed(parse: Callable[[str], object], of: type) -> PlainValidator:
    """Return a validator that parses a text, and takes an instance of `of` as it is."""

    def check(value: object) -> object:
        if isinstance(value, of):
            return value
        return parse(value if isinstance(value, str) else "")

    return PlainValidator(check)


def _checked(check: Callable[[str], str]) -> BeforeValidator:
    return BeforeValidator(lambda value: check(value if isinstance(value, str) else ""))


def _choice(choices: tuple[str, ...]) -> BeforeValidator:
    return _checked(lambda text: one_of(text, choices))


def _number(value: object, info: ValidationInfo) -> float | None:
    """Return a number that Python code passed; in a file it lacks its unit, so it is None."""
    if _document(info) is None and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _size(
    *, least: int = 0, most: int = LARGEST_SIZE, power_of_two: bool = False
) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> int:
        number = _number(value, info)
        size = parse_size(value if isinstance(value, str) else "") if number is None else number
        if not least <= size <= most or (power_of_two and int(size) & (int(size) - 1)):
            kind = "a power of two" if power_of_two else "a size"
            upper = f' to "{show_size(most)}"' if most < LARGEST_SIZE else " up"
            raise ValueError(f'want {kind} from "{show_size(least)}"{upper}')
        return int(size)

    return BeforeValidator(check)


def _time(value: object, info: ValidationInfo) -> float:
    number = _number(value, info)
    if number is not None:
        return number
    seconds = parse_time(value if isinstance(value, str) else "")
    if seconds < 1:
        raise ValueError('want a time of at least "1s"')
    return seconds


def _rate(value: object, info: ValidationInfo) -> float | None:
    if value is None and _document(info) is None:
        return None
    number = _number(value, info)
    return number if number is not None else parse_rate(value if isinstance(value, str) else "")


def _count(least: int, most: int) -> BeforeValidator:
    return BeforeValidator(lambda value: _whole(value, least, most))


def _whole(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"want a whole number from {least} to {most}")
    return value


def _slots(value: object) -> int | str:
    if value in ("auto", "unlimited"):
        return str(value)
    try:
        return _whole(value, 1, 1_000_000)
    except ValueError:
        raise ValueError('want "auto", "unlimited", or a whole number from 1 up') from None


def _copies(value: object, info: ValidationInfo) -> float | None:
    if value == "unlimited" or (value is None and _document(info) is None):
        return None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if not 1 <= number <= 1_000_000:
        raise ValueError('want how many copies, 1 or more such as 1.5, or "unlimited"')
    return float(number)


def _price(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not (0 <= number <= 1_000_000 and math.isfinite(number)):
        raise ValueError("want a price, zero or more, such as 0.09")
    return float(number)


def _money(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= LARGEST_SUM:
        raise ValueError("want an amount of money, zero or more, such as 10.0")
    return float(number)


def _quoted(value: object) -> str:
    """Return the hint for a number that should have been a text."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**20
    return f': write "{value}", with the quotes' if whole else ""


def _text(pattern: str, wanted: str, most: int = 1024) -> BeforeValidator:
    """Return a check for 1 to `most` bytes of UTF-8 that match `pattern` from end to end."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"want {wanted}{_quoted(value)}")
        if len(value.encode()) > most:
            raise ValueError(f"want at most {most} bytes")
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError(f"want {wanted}")
        return value

    return BeforeValidator(check)


def _prefix(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"want what keys begin with{_quoted(value)}")
    if len(value.encode()) > LONGEST_KEY:
        raise ValueError(f"want at most {LONGEST_KEY} bytes")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    """Return a path with ~ expanded; a relative one starts at the file's directory."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("want a path")
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError("want a path without ~: there is no home directory here") from None
    document = _document(info)
    return document.directory / path if document else path


def _directory(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if os.path.lexists(path) and not path.is_dir():
        raise ValueError("want a directory, and this is something else")
    return path


def _file(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if not os.path.exists(path):
        raise ValueError(f"want a file, and there is none at {path}")
    if not path.is_file():
        raise ValueError(f"want a file, and {path} is something else")
    if not os.access(path, os.R_OK):
        raise ValueError(f"want a file that can be read: {path} refuses, see its permissions")
    return path


def _list(example: str, *, least: int = 0) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(f"want a list such as {example}")
        return tuple(value)

    return BeforeValidator(check)


_Rate = Annotated[float | None, BeforeValidator(_rate)]
_Time = Annotated[float, BeforeValidator(_time)]
_Price = Annotated[float, BeforeValidator(_price)]
_Bytes = Annotated[int, _size()] | None
_Requests = Annotated[int, _count(0, LARGEST_SUM)] | None
_Money = Annotated[float, BeforeValidator(_money)] | None
# Goes into a header or a query: visible ASCII. AWS's version ids hold slashes.
_Token = Annotated[str, _text("[!-~]+", "visible ASCII characters")]
_Path = Annotated[Path, BeforeValidator(_path)]
_Directory = Annotated[Path, BeforeValidator(_directory)]
_File = Annotated[Path, BeforeValidator(_file)]
_Address = Annotated[Address, _parsed(parse_address, Address)]
_Network = Annotated[Network, _parsed(parse_network, Network)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OriginSettings(_Section):
    """[origin] or [origins.NAME]: one S3 server and how to ask it. Credentials are not here."""

    name: str = DEFAULT_ORIGIN
    endpoint: Annotated[str, _checked(check_endpoint)] | None = None
    """Without a trailing slash; None is AWS, by region."""
    region: Annotated[str, _text("[A-Za-z0-9._-]+", "a region's name")] = "us-east-1"
    path_style: bool = False
    anonymous: bool = False
    profile: _Token | None = None
    request_payer: bool = False
    expected_bucket_owner: _Token | None = None
    # Each may hold a range of 8 MiB in memory.
    connections: Annotated[int, _count(1, 32)] = 16
    ca_file: _File | None = None

    @field_validator("profile")
    @classmethod
    def _one_way_to_sign(cls, profile: str | None, info: ValidationInfo) -> str | None:
        if profile is not None and info.data.get("anonymous"):
            raise ValueError("want either anonymous = true or a profile, not both")
        return profile


class ObjectSettings(_Section):
    """[[objects]]: what to publish, an object or all below a prefix, and where metainfo comes from.

    It has either a `key` or a `prefix`; `seeder.config` sees to it that it has one.
    """

    origin: str = DEFAULT_ORIGIN
    # Old AWS names may be long or hold capitals; Ceph writes TENANT:BUCKET.
    bucket: Annotated[
        str, _text("[A-Za-z0-9][A-Za-z0-9._:-]*", "the name of a bucket, without a slash", 255)
    ]
    key: Annotated[str, _text(".*", "the key of an object", LONGEST_KEY)] | None = None
    prefix: Annotated[str, BeforeValidator(_prefix)] | None = None
    """What the keys of all its objects begin with; "" is the whole bucket."""
    max_objects: Annotated[int, _count(1, MOST_OBJECTS)] = 10_000
    """Below the prefix; of more, none is published."""
    version_id: _Token | None = None
    metainfo: Annotated[
        tuple[Annotated[Rung, _choice(RUNGS)], ...], _list('["origin", "build"]', least=1)
    ] = RUNGS
    torrent_file: _File | None = None
    piece_length: (
        Annotated[int, _size(least=SMALLEST_PIECE, most=LARGEST_PIECE_LENGTH, power_of_two=True)]
        | None
    ) = None
    """Bytes; None is chosen by the object's size."""
    private: bool = False
    public: bool | None = None
    """Whether anybody may fetch the torrent; None is all but the private ones."""
    format: Annotated[Format, _choice(FORMATS)] = "v1"
    verify: Annotated[Verify, _choice(VERIFY)] = "sample"
    refresh: _Time = 600.0
    bundle: bool = False
    """One torrent of all below the prefix, instead of one for each object."""

    @property
    def ref(self) -> ObjectRef:
        """The object, as the rest of the program names it; its key is the prefix if it has that."""
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
        document = _document(info)
        return one_of(str(name), sorted(document.origins)) if document else name

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

    @field_validator("metainfo")
    @classmethod
    def _each_rung_once(cls, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
        if len(set(rungs)) < len(rungs):
            raise ValueError("want each source once")
        return rungs


class TrackerSettings(_Section):
    """[tracker]: where clients announce, and what they are told."""

    listen: Annotated[tuple[_Address, ...], _list('["0.0.0.0:6969"]', least=1)] = (
        Address("0.0.0.0", 6969),
    )
    announce_url: Annotated[str, _checked(check_announce_url)] | None = None
    """What torrents name; None is derived from the addresses by whoever writes the torrent."""
    interval: _Time = 1800.0
    peers_per_address: Annotated[int, _count(1, 100_000)] = 32
    """In one swarm."""
    trusted_proxies: Annotated[tuple[_Network, ...], _list('["10.0.0.0/8"]')] = ()
    """Whose X-Forwarded-For is believed."""


class PeerSettings(_Section):
    """[peer]: where leechers connect."""

    listen: Annotated[tuple[_Address, ...], _list('["0.0.0.0:6881"]', least=1)] = (
        Address("0.0.0.0", 6881),
    )
    public_address: Annotated[Address, _parsed(parse_public_address, Address)] | None = None
    """What the tracker hands out for us."""
    upload_rate: _Rate = None
    """Bytes a second to all peers together; None is unlimited."""
    upload_rate_per_torrent: _Rate = None
    upload_rate_per_peer: _Rate = None
    encryption: Annotated[Encryption, _choice(ENCRYPTION)] = "allow"
    upload_slots: Annotated[UploadSlots, BeforeValidator(_slots)] = "auto"
    thrifty: bool = True
    """Whether who can have a piece from other peers waits a little before we send it again."""
    copies_per_address: Annotated[float | None, BeforeValidator(_copies)] = 4.0
    """Of one torrent, that are sent to one address; None is without end."""
    origin_copies_per_address: Annotated[float | None, BeforeValidator(_copies)] = 1.25
    """Of one torrent, that are read from S3 for one address."""
    super_seeding: Annotated[SuperSeeding, _choice(SUPER_SEEDING)] = "auto"
    connections: Annotated[int, _count(1, 1_000_000)] = 2000
    connections_per_torrent: Annotated[int, _count(1, 1_000_000)] = 1000
    connections_per_address: Annotated[int, _count(1, 1_000_000)] = 20
    """Of one IPv4 address or one IPv6 /64, in all torrents together."""


class ReadKeySettings(_Section):
    """[[gateway.keys]]: an access key by which objects that are not public are read.

    Its secret is in a file or a systemd credential: `seeder.readkeys` reads it when it is needed.
    """

    access_key_id: Annotated[
        str, _text("[A-Za-z0-9._-]{3,128}", "an access key id of 3 to 128 letters, digits, . _ -")
    ]
    secret_file: _Path | None = None
    secret_credential: (
        Annotated[str, _text("[A-Za-z0-9._-]+", "the name of a systemd credential", 255)] | None
    ) = None
    objects: Annotated[
        tuple[Annotated[str, _text("[^/]+/.+", 'objects such as "quotes/*"', 2048)], ...],
        _list('["quotes/*"]', least=1),
    ]
    """BUCKET/KEY each, with `*` for any characters, slashes too."""

    @field_validator("secret_credential")
    @classmethod
    def _one_secret(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("secret_file") is not None:
            raise ValueError("want either a secret_file or a secret_credential, not both")
        return credential


class GatewaySettings(_Section):
    """[gateway]: what the public listener serves as S3 would, and to whom."""

    url: Annotated[str, _checked(check_gateway_url)] | None = None
    """What stands before /BUCKET/KEY; None is what stands before /announce."""
    domains: Annotated[
        tuple[Annotated[str, _checked(check_domain)], ...], _list('["torrents.example.org"]')
    ] = ()
    """Below which BUCKET.DOMAIN is a bucket's host."""
    listing: bool = False
    web_seed: bool = False
    """Whether GET /BUCKET/KEY gives the object, and torrents name that URL (BEP 19)."""
    keys: Annotated[tuple[ReadKeySettings, ...], _list("[[gateway.keys]]")] = ()


class CacheSettings(_Section):
    """[cache]: byte budgets of the two tiers; a disk of 0 keeps pieces in memory only."""

    directory: _Directory
    memory: Annotated[int, _size()] = 256 * MIB
    disk: Annotated[int, _size()] = 50 * GIB


class AdminSettings(_Section):
    """[admin]: the status page, metrics and health; an empty list turns them off."""

    listen: Annotated[tuple[_Address, ...], _list('["127.0.0.1:9180"]')] = (
        Address("127.0.0.1", 9180),
    )


class SavingsSettings(_Section):
    """[savings]: what the origin charges, in any currency; a GB is 2^30 bytes, as S3 bills it."""

    price_per_gb: _Price = 0.09
    price_per_1000_requests: _Price = 0.0004


class BudgetSettings(_Section):
    """[budget]: what a day and a month (UTC) may cost; None sets no limit.

    Money is counted at the prices of [savings]: origin bytes and requests, or uploaded bytes.
    """

    origin_bytes_per_day: _Bytes = None
    origin_bytes_per_month: _Bytes = None
    origin_requests_per_day: _Requests = None
    origin_requests_per_month: _Requests = None
    origin_money_per_day: _Money = None
    origin_money_per_month: _Money = None
    uploaded_bytes_per_day: _Bytes = None
    uploaded_bytes_per_month: _Bytes = None
    uploaded_money_per_day: _Money = None
    uploaded_money_per_month: _Money = None

    def amounts(self) -> dict[str, float | None]:
        """Return every key with its amount."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Config(_Section):
    """A whole configuration."""

    state_directory: _Directory
    origins: dict[str, OriginSettings]
    """By name; [origin] is "default"."""
    objects: tuple[ObjectSettings, ...]
    tracker: TrackerSettings = TrackerSettings()
    peer: PeerSettings = PeerSettings()
    gateway: GatewaySettings = GatewaySettings()
    cache: CacheSettings
    admin: AdminSettings = AdminSettings()
    savings: SavingsSettings = SavingsSettings()
    budget: BudgetSettings = BudgetSettings()
