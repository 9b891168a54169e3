"""Datagrams of a UDP socket, taken and answered in batches, from the address that was asked.

A machine with several addresses would else answer from one that the client doesn't know.

A batch is one call of the system to receive (recvmmsg(2)) and one to send (sendmmsg(2)). Python has
neither, so the C library's are called, by ctypes; as nothing calls back, no memory has to be both
writable and executable (systemd/seeder.service). Batches spare more than the calls: who works out
the answers finds the processor's caches as he left them.
"""

import ctypes
import errno
import os
import socket
from ctypes import c_char, c_int, c_size_t, c_uint, c_void_p
from struct import Struct
from typing import NamedTuple

from seeder.net.sockets import BROKEN, only_address, packed_address, unmapped

BATCH = 16
"""Datagrams received by one call, and answered by one: the first waits for the last."""
WAITING = 4 << 20
"""Bytes that may wait in the system, as far as it allows (net.core.rmem_max)."""

# ip(7), ipv6(7). Python 3.11 doesn't know the first, which is the same on every Linux.
_IP_PKTINFO = 8
_V4_INFO = Struct("@I4s4s")
_V6_INFO = Struct("@16sI")
_ANY_INTERFACE = 0
_UNKNOWN = bytes(4)
_V6_MULTICAST = 0xFF
_CONTROL_HEAD = Struct("@Nii")
"""Length, level and type of what the system tells or is told of a datagram: cmsg(3)."""
_CONTROL = socket.CMSG_SPACE(_V6_INFO.size)
_V4_NAME, _V6_NAME = Struct("!2xH4s20x"), Struct("!2xH4x16s4x")
"""Port and address of a sender, each in as much room as the longer one takes."""
_NAME = _V6_NAME.size
_V4_SENDER = 16
"""Bytes of a `struct sockaddr_in`."""


# The constructor that a named tuple has takes twice as long.
_new = tuple.__new__


class _Piece(ctypes.Structure):
    """The system's `struct iovec`."""

    _fields_ = (("base", c_void_p), ("length", c_size_t))


class _Head(ctypes.Structure):
    """The system's `struct msghdr`."""

    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_uint),
        ("pieces", c_void_p),
        ("piece_count", c_size_t),
        ("control", c_void_p),
        ("control_length", c_size_t),
        ("flags", c_int),
    )


class _Message(ctypes.Structure):
    """The system's `struct mmsghdr`."""

    _fields_ = (("head", _Head), ("length", c_uint))


class Datagram(NamedTuple):
    """What came in one datagram."""

    data: bytes
    source: bytes
    """The packed address that it says it came from, 4 or 16 bytes."""
    local: bytes
    """The packed address of ours that it came to, 4 or 16 bytes."""
    place: int = 0
    """In its batch."""


class _Batch:
    """Room for a batch of datagrams, in the form that the calls of the system want.

    `names` are the senders' addresses. The system is told where all of it lies, which is the same
    place for as long as this is there.
    """

    def __init__(self, size: int, names: "ctypes.Array[c_char]", name: int, control: int) -> None:
        """Have room for datagrams of `size` bytes, and `control` about each."""
        kept = (c_char * (BATCH * size))(), (c_char * (BATCH * _CONTROL))(), (_Piece * BATCH)()
        data, told, pieces = kept
        messages = (_Message * BATCH)()
        for place in range(BATCH):
            piece = pieces[place]
            piece.base, piece.length = ctypes.addressof(data) + place * size, size
            message = messages[place].head
            message.name, message.name_length = ctypes.addressof(names) + place * _NAME, name
            message.pieces, message.piece_count = ctypes.addressof(piece), 1
            if control:
                message.control = ctypes.addressof(told) + place * _CONTROL
                message.control_length = control
        self._kept = kept, names
        self.size = size
        self.messages = ctypes.addressof(messages)
        self.data, self.control = memoryview(data).cast("B"), memoryview(told).cast("B")
        self._heads = memoryview(messages).cast("B")
        self._fresh = bytes(self._heads)
        words = self._heads.cast("L")
        step = ctypes.sizeof(_Message)
        self.lengths_out = memoryview(pieces).cast("B").cast("L")[1::2]
        """Of what is to be sent, by place."""
        first = _Message.length.offset // 4
        self.lengths_in = self._heads.cast("I")[first :: step // 4]
        """Of what came, by place."""
        first = _Head.control_length.offset // words.itemsize
        self.told = words[first :: step // words.itemsize]
        """The bytes that the system told of it."""

    def refresh(self) -> None:
        """Make the headers as they were at first: the system writes into them."""
        self._heads[:] = self._fresh


class Datagrams:
    """The datagrams that come to a bound, non-blocking UDP socket, and the replies to them.

    `receive` a batch, `reply` to some of it, and `send` before the next one is received.
    """

    def __init__(self, sock: socket.socket, largest: int, longest: int) -> None:
        """Cut what comes to `largest` bytes; a reply has `longest` at most.

        Where the socket has several addresses, the system tells to which of them each came.
        """
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        self._sock = sock
        self._is_v6 = is_v6 = sock.family == socket.AF_INET6
        local = only_address(sock)
        self._only = None if local is None else packed_address(local[0])
        self._info = _V6_INFO if is_v6 else _V4_INFO
        level, kind = socket.IPPROTO_IP, _IP_PKTINFO
        if is_v6:
            level, kind = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
        control = 0
        if local is None:
            # Only where it has to be: to be told takes time for each datagram.
            sock.setsockopt(level, socket.IPV6_RECVPKTINFO if is_v6 else kind, 1)
            control = socket.CMSG_SPACE(self._info.size)
        self._name = _V6_NAME if is_v6 else _V4_NAME
        self._names = names = (c_char * (BATCH * _NAME))()
        self._senders = memoryview(names).cast("B")
        name = _NAME if is_v6 else _V4_SENDER
        self._in = _Batch(largest, names, name, control)
        self._out = _Batch(longest, names, name, control)
        if control:
            head = _CONTROL_HEAD.pack(socket.CMSG_LEN(self._info.size), level, kind)
            for start in range(0, BATCH * _CONTROL, _CONTROL):
                self._out.control[start : start + len(head)] = head
        self._replied: list[int] = []
        """The places of those that get a reply, in order."""
        library = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = library.recvmmsg, library.sendmmsg
        self._recvmmsg.argtypes = (c_int, c_void_p, c_uint, c_int, c_void_p)
        self._sendmmsg.argtypes = (c_int, c_void_p, c_uint, c_int)

    def receive(self) -> list[Datagram] | None:
        """Return the next batch; None where nothing waits.

        What can't be answered is left out, that is what comes from port 0, and what was sent to
        many hosts at once (broadcast, multicast): one forged datagram would have all of them
        answer. OSError when the socket is broken.
        """
        batch, only, is_v6 = self._in, self._only, self._is_v6
        batch.refresh()
        count = self._recvmmsg(
            self._sock.fileno(), batch.messages, BATCH, socket.MSG_DONTWAIT, None
        )
        if count < 0:
            error = ctypes.get_errno()
            if error in BROKEN:
                raise OSError(error, os.strerror(error))
            # Otherwise ICMP told of a reply that came to nothing.
            return None if error == errno.EAGAIN else []
        found, data, size, start = [], batch.data, batch.size, 0
        lengths = batch.lengths_in[:count].tolist()
        senders = self._name.iter_unpack(self._senders[: count * _NAME])
        for place, (port, sender) in enumerate(senders):
            local = only or self._local(place)
            if port and local is not None:
                source = unmapped(sender) if is_v6 else sender
                received = data[start : start + lengths[place]].tobytes()
                found.append(_new(Datagram, (received, source, local, place)))
            start += size
        return found

    def _local(self, place: int) -> bytes | None:
        """Return the address that a datagram came to; None if it was sent to many hosts."""
        if not self._in.told[place]:
            return None
        info = self._in.control[place * _CONTROL + _CONTROL_HEAD.size :][: self._info.size]
        return local_address(info.tobytes())

    def reply(self, place: int, data: bytes) -> None:
        """Have a datagram of the last batch answered, in the order of their places.

        ValueError if the reply is too long.
        """
        batch = self._out
        start, length = place * batch.size, len(data)
        if length > batch.size:
            raise ValueError(f"a reply has {length} bytes, of at most {batch.size}")
        batch.data[start : start + length] = data
        batch.lengths_out[place] = length
        self._replied.append(place)

    def send(self) -> int:
        """Send the replies; return the bytes in those that the system took.

        What it doesn't take nobody minds: the client asks again.
        """
        places, self._replied = self._replied, []
        if self._only is None:
            for place in places:
                self._answer_from_where_it_came(place)
        sent = begin = 0
        for at, place in enumerate(places, 1):
            if at == len(places) or places[at] != place + 1:
                sent += self._send(places[begin], place + 1)
                begin = at
        return sent

    def _answer_from_where_it_came(self, place: int) -> None:
        at = place * _CONTROL + _CONTROL_HEAD.size
        told, size = self._in.control[at:], self._info.size
        fields = self._info.unpack_from(told)
        if self._is_v6:
            answering = self._info.pack(fields[0], _ANY_INTERFACE)
        else:
            answering = self._info.pack(_ANY_INTERFACE, fields[2], _UNKNOWN)
        self._out.control[at : at + size] = answering

    def _send(self, first: int, end: int) -> int:
        """Send the replies to the datagrams from one place up to another; return their bytes."""
        batch, sent = self._out, 0
        while first < end:
            at = batch.messages + first * ctypes.sizeof(_Message)
            count = self._sendmmsg(self._sock.fileno(), at, end - first, socket.MSG_DONTWAIT)
            if count <= 0:
                # No buffer, no route, an unreachable port told of an earlier one.
                first += 1
                continue
            sent += sum(batch.lengths_out[first : first + count].tolist())
            first += count
        return sent


def local_address(info: bytes) -> bytes | None:
    """Return which address of ours a datagram came to, by what the system told (ip(7), ipv6(7)).

    None if it was sent to many hosts at once.
    """
    if len(info) == _V6_INFO.size:
        packed, _ = _V6_INFO.unpack(info)
        # A socket that systemd opened may take IPv4 as IPv4-mapped (BindIPv6Only=).
        return None if packed[0] == _V6_MULTICAST else unmapped(packed)
    # The address to answer from and the one that was named: the first isn't known of what came
    # before the system was asked to tell. (From a broadcast address it sends nothing.)
    _, answering, named = _V4_INFO.unpack(info)
    return named if answering in (named, _UNKNOWN) else None
