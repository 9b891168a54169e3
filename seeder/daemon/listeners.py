"""The listening sockets of a node: passed by systemd, or opened here."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from seeder.config.sections import Config
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.net.sockets import close_all, listen


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listening sockets by what they are for."""

    tracker: list[socket.socket]
    peer: list[socket.socket]
    admin: list[socket.socket]

    def addresses(self) -> dict[str, list[HostPort]]:
        """Return where each of them listens."""
        groups = {"tracker": self.tracker, "peer": self.peer, "admin": self.admin}
        return {name: list(map(address_of, group)) for name, group in groups.items()}

    def close(self) -> None:
        for group in (self.tracker, self.peer, self.admin):
            close_all(group)


def open_listeners(config: Config, activated: Mapping[str, list[socket.socket]]) -> Listeners:
    """Return the sockets that systemd passed, and open those that it didn't; ConfigError."""
    groups: dict[str, list[socket.socket]] = {}
    problems: list[str] = []
    for name, addresses in (
        ("tracker", config.tracker.listen),
        ("peer", config.peer.listen),
        ("admin", config.admin.listen),
    ):
        groups[name] = list(activated.get(name, ()))
        if groups[name]:
            continue
        for address in addresses:
            try:
                groups[name].append(listen(address.host, address.port, name))
            except ConfigError as error:
                problems += error.problems
    listeners = Listeners(**groups)
    if problems:
        listeners.close()
        raise ConfigError(problems)
    return listeners


def address_of(listener: socket.socket) -> HostPort:
    """Return where a listening socket listens."""
    host, port = listener.getsockname()[:2]
    return HostPort(str(host), int(port))
