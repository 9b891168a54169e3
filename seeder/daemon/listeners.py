"""The listening sockets of a node: passed by systemd, or opened here."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from seeder.config.sections import Config
from seeder.errors import ConfigError, Unavailable
from seeder.net.addresses import HostPort
from seeder.net.sockets import bind_datagrams, close_all, listen


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listening sockets by what they are for."""

    tracker: list[socket.socket]
    tracker_tls: list[socket.socket]
    tracker_udp: list[socket.socket]
    peer: list[socket.socket]
    admin: list[socket.socket]

    def addresses(self) -> dict[str, list[HostPort]]:
        """Return where they listen that do."""
        groups = self._groups().items()
        return {name: list(map(address_of, group)) for name, group in groups if group}

    def _groups(self) -> dict[str, list[socket.socket]]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def main(self) -> Sequence[socket.socket]:
        """The tracker's by HTTP that torrents name one of: those with TLS, if there are any."""
        return self.tracker_tls or self.tracker

    def close(self) -> None:
        for group in self._groups().values():
            close_all(group)


def open_listeners(config: Config, activated: Mapping[str, list[socket.socket]]) -> Listeners:
    """Return the sockets that systemd passed, and open those that it didn't; ConfigError, which is
    Unavailable where nothing else is wrong than that an address can't be had now.

    A datagram socket with the tracker's name is for its UDP. Where there is a certificate and no
    socket of its own for TLS, the tracker's all speak it. The tracker's are shared by the nodes of
    a cluster that run on one machine.
    """
    groups: dict[str, list[socket.socket]] = {}
    problems: list[str] = []
    busy: list[str] = []
    stream, datagrams = (listen, socket.SOCK_STREAM), (bind_datagrams, socket.SOCK_DGRAM)
    for name, passed_as, key, addresses, (open_one, kind) in (
        ("tracker", "tracker", "tracker.listen", config.tracker.listen, stream),
        ("tracker_tls", "tracker-tls", "tracker.tls_listen", config.tracker.tls_listen, stream),
        ("tracker_udp", "tracker", "tracker.udp_listen", config.tracker.udp_listen, datagrams),
        ("peer", "peer", "peer.listen", config.peer.listen, stream),
        ("admin", "admin", "admin.listen", config.admin.listen, stream),
    ):
        passed = activated.get(passed_as, ())
        groups[name] = [each for each in passed if each.type is kind]
        if groups[name]:
            continue
        for address in addresses:
            try:
                shared = config.cluster.store is not None and name.startswith("tracker")
                groups[name].append(open_one(address.host, address.port, key, shared=shared))
            except Unavailable as error:
                ours = any(
                    _is_on(address, kind, each) for group in groups.values() for each in group
                )
                (problems if ours else busy).extend(error.problems)
            except ConfigError as error:
                problems += error.problems
    if groups["tracker_tls"] and not config.tracker.tls:
        problems.append(
            "tracker.tls_certificate: is missing, without which the socket tracker-tls that systemd"
            " passed can't speak TLS"
        )
    if config.tracker.tls and not groups["tracker_tls"]:
        groups["tracker"], groups["tracker_tls"] = [], groups["tracker"]
    listeners = Listeners(**groups)
    if problems or busy:
        listeners.close()
        raise ConfigError([*problems, *busy]) if problems else Unavailable(busy)
    return listeners


def _is_on(address: HostPort, kind: socket.SocketKind, listener: socket.socket) -> bool:
    """Tell whether a listener of our own may keep us from an address: then the file is wrong."""
    return (
        listener.type is kind and bool(address.port) and address_of(listener).port == address.port
    )


def address_of(listener: socket.socket) -> HostPort:
    """Return where a listening socket listens."""
    host, port = listener.getsockname()[:2]
    return HostPort(str(host), int(port))
