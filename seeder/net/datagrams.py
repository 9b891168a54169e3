"""Datagrams of a UDP socket, taken in batches and answered from the address that was asked.

A machine with several addresses would else answer from one that the client doesn't know.
"""

import socket
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from seeder.net.sockets import BROKEN, V4_MAPPED, only_address, packed_address, unmapped

BATCH = 256
"""Datagrams taken by one wake-up; other tasks then get their turn. That is 5 ms: beside peers that
are seeded at full rate, wake-ups are tens of milliseconds apart."""
WAITING = 4 << 20
"""Bytes that may wait in the system, as far as it allows (net.core.rmem_max)."""

# ip(7), ipv6(7). Python 3.11 doesn't know the first, which is the same on every Linux.
_IP_PKTINFO = 8
_V4_INFO = Struct("@I4s4s")
_V6_INFO = Struct("@16sI")
_ANY_INTERFACE = 0
_UNKNOWN = bytes(4)
_V6_MULTICAST = 0xFF


class Datagram(NamedTuple):
    """What came in one datagram."""

    data: bytes
    source: bytes
    """The packed address that it says it came from, 4 or 16 bytes."""
    local: bytes
    """The packed address of ours that it came to, 4 or 16 bytes."""
    sender: tuple[str | int, ...]
    """Where it came from, as the system wants it."""
    direct: bool = False
    """Whether the socket has no other address that a reply could leave from."""


def tell_destinations(sock: socket.socket) -> bytes | None:
    """Have a UDP socket tell to which of our addresses datagrams came.

    If that can only be one, return it: asking the system for each costs a quarter of an announce.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
    local = only_address(sock)
    if local is not None:
        return packed_address(local[0])
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return None


def receive(sock: socket.socket, largest: int, local: bytes | None = None) -> Iterator[Datagram]:
    """Yield what waits at a socket, `BATCH` datagrams at most, each cut to `largest` bytes.

    `local` is what `tell_destinations` returned.

    What can't be answered is left out, that is what comes from port 0, and what was sent to many
    hosts at once (broadcast, multicast): one forged datagram would have all of them answer.
    OSError when the socket is broken.
    """
    if local is not None:
        yield from _receive_at(sock, largest, local)
        return
    is_v6 = sock.family == socket.AF_INET6
    info, room = (_V6_INFO, 20) if is_v6 else (_V4_INFO, 12)
    space = socket.CMSG_SPACE(room)
    for _ in range(BATCH):
        try:
            data, ancillary, _, sender = sock.recvmsg(largest, space)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in BROKEN:
                raise
            # ICMP told of a reply that came to nothing.
            continue
        if not ancillary or not sender[1]:
            continue
        fields = info.unpack(ancillary[0][2][: info.size])
        if is_v6:
            # A socket that systemd opened may take IPv4 as IPv4-mapped (BindIPv6Only=).
            local = unmapped(fields[0])
            if fields[0][0] == _V6_MULTICAST:
                continue
        else:
            # The address to answer from and the one that was named: the first isn't known of what
            # came before `tell_destinations`. (From a broadcast address the system sends nothing.)
            answering, local = fields[1:]
            if answering not in (local, _UNKNOWN):
                continue
        yield Datagram(data, packed_address(sender[0]), local, sender)


def _receive_at(sock: socket.socket, largest: int, local: bytes) -> Iterator[Datagram]:
    for _ in range(BATCH):
        try:
            data, sender = sock.recvfrom(largest)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in BROKEN:
                raise
            continue
        if sender[1]:
            yield Datagram(data, packed_address(sender[0]), local, sender, True)


def reply(sock: socket.socket, datagram: Datagram, data: bytes) -> bool:
    """Send the reply to a datagram; False if the system doesn't take it, which nobody minds."""
    if datagram.direct:
        try:
            sock.sendto(data, datagram.sender)
        except OSError:
            return False
        return True
    if sock.family == socket.AF_INET6:
        local = datagram.local if len(datagram.local) == 16 else V4_MAPPED + datagram.local
        source = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _V6_INFO.pack(local, _ANY_INTERFACE)
    else:
        fields = _ANY_INTERFACE, datagram.local, bytes(4)
        source = socket.IPPROTO_IP, _IP_PKTINFO, _V4_INFO.pack(*fields)
    try:
        sock.sendmsg((data,), (source,), 0, datagram.sender)
    except OSError:
        # No buffer, no route, an unreachable port told of an earlier one: the client asks again.
        return False
    return True
