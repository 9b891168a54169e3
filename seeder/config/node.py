"""[cache], [admin], [cluster] and [log]: what a node has for itself."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, ValidationInfo, field_validator

from seeder.config.fields import (
    AnyPath,
    Credential,
    Directory,
    ExistingFile,
    ListenAddress,
    PathOrOff,
    Settings,
    array,
    checked,
    choice,
    count,
    size,
    text,
)
from seeder.config.texts import check_domain, check_gateway_url, check_store, one_of
from seeder.net.addresses import HostPort
from seeder.units import GIB, MIB

CONTROL_SOCKET = "control.sock"
"""Below the state directory, unless [admin] says where else."""
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
LOG_ROOMS = (
    *("admin", "cache", "cluster", "config", "control", "daemon", "events", "gateway", "http"),
    *("ledger", "metainfo", "net", "peer", "publish", "s3", "torrent", "tracker", "upload"),
)
"""Parts of the program whose lines may have a level of their own."""


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

    listen: Annotated[tuple[ListenAddress, ...], array('["127.0.0.1:9180"]')] = (
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
    token_credential: Credential | None = None

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
    password_credential: Credential | None = None
    ca_file: ExistingFile | None = None
    """Whose certificates are trusted at a rediss:// URL; None is the system's."""

    @field_validator("password_credential")
    @classmethod
    def _one_password(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("password_file") is not None:
            raise ValueError("want either a password_file or a password_credential, not both")
        return credential


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
