"""The sessions of one swarm's clients in columns: a session is a number, not an object.

A session is one run of one client, whatever addresses it announces from. Its name is its peer id
and its key. A client without a key is known by its peer id at its address alone: peer ids are no
secret.

As with the listed peers, the last session takes the number of one that goes: a number is good until
the next one is forgotten. Which peers are whose is kept here.

No I/O.
"""

from array import array
from hashlib import blake2b

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, network_of
from seeder.tracker.announce import PEER_ID_LENGTH
from seeder.tracker.columns import trim
from seeder.tracker.lookup import Lookup

COMPLETED, UNSURE = 1, 2
"""Flags of a session: its completion was counted; an earlier run may have counted more of it (in
this one it hasn't announced, or only as a seed)."""
UNTOLD = -1
"""For `uploaded` before there is one, or if nobody asks for it."""

_MOST_TAIL = 8
_KEYLESS = 16
"""Added to the length of a network that stands where others have their key."""
NAME_LENGTH = PEER_ID_LENGTH + 1 + _MOST_TAIL
_KINDS = tuple(bytes((length,)) for length in range(_MOST_TAIL + 1))
_PADDING = tuple(bytes(_MOST_TAIL - length) for length in range(_MOST_TAIL + 1))
_BOTH = V4_ENDPOINT + V6_ENDPOINT
_NOWHERE = bytes(_BOTH)


def session_name(peer_id: bytes, key: bytes, endpoint: bytes) -> bytes:
    """Return the name of the session of a client that announces from a compact endpoint.

    A key that is longer than what nearly all clients send is known by its digest, which is a key
    like others: who announces the digest has the secret.
    """
    length = len(key)
    if not length:
        network = network_of(endpoint[:-2])
        tail = bytes((_KEYLESS + len(network),)) + network
        return peer_id + tail.ljust(1 + _MOST_TAIL, b"\0")
    if length > _MOST_TAIL:
        key, length = blake2b(key, digest_size=_MOST_TAIL).digest(), _MOST_TAIL
    return peer_id + _KINDS[length] + key + _PADDING[length]


def key_of(name: bytes) -> bytes:
    """Return the client's secret that a session's name has; empty if it has none."""
    length = name[PEER_ID_LENGTH]
    return name[PEER_ID_LENGTH + 1 : PEER_ID_LENGTH + 1 + length] if length < _KEYLESS else b""


class Sessions:
    """Every session of a swarm."""

    __slots__ = (
        "_before",
        "_first",
        "_following",
        "_lookup",
        "_names",
        "_where",
        "claimed",
        "downloaded",
        "flags",
        "of_peer",
        "seen",
        "uploaded",
    )

    def __init__(self) -> None:
        self._names = bytearray()
        self.downloaded = array("q")
        """The highest `downloaded` seen in this download, in bytes."""
        self.uploaded = array("q")
        """The last `uploaded` seen, in bytes, or UNTOLD."""
        self.claimed = array("q")
        """Bytes of this download that were looked at, whether they were believed or not."""
        self.seen = array("d")
        self.flags = bytearray()
        self._where = bytearray()
        """Where each was listed last by IPv4 and by IPv6, as compact endpoints; zeros: nowhere."""
        self.of_peer = array("i")
        """The session of each listed peer."""
        self._first = array("i")
        """A listed peer of each session, or -1."""
        self._following = array("i")
        """For each listed peer another one of its session, or -1."""
        self._before = array("i")
        """For each the one that leads to it, or -1."""
        self._lookup = Lookup(self._names, NAME_LENGTH, NAME_LENGTH)

    def __len__(self) -> int:
        return len(self.flags)

    def find(self, name: bytes) -> int:
        """Return the number of a session; -1 if there is none of that name."""
        return self._lookup.find(name)

    def find_or_add(self, name: bytes, downloaded: int, seen: float) -> int:
        """Return the number of a session; where there is none, take it in, and return -1.

        It has the highest number then, and is unsure.
        """
        number = self._lookup.find_or_add(name, len(self.flags))
        if number < 0:
            self._names += name
            self.downloaded.append(downloaded)
            self.uploaded.append(UNTOLD)
            self.claimed.append(0)
            self.seen.append(seen)
            self.flags.append(UNSURE)
            self._where += _NOWHERE
            self._first.append(-1)
        return number

    def renew(self, number: int, peer_id: bytes, key: bytes, endpoint: bytes, now: float) -> bool:
        """Note that the client of a listed session is there still; False if it has another name."""
        length = len(key)
        if 0 < length <= _MOST_TAIL:
            name = peer_id + _KINDS[length] + key  # and padding
        else:
            name = session_name(peer_id, key, endpoint)
        if not self._names.startswith(name, number * NAME_LENGTH):
            return False
        self.seen[number] = now
        start = number * _BOTH
        # As `note_endpoint` has it.
        if len(endpoint) == V4_ENDPOINT:
            self._where[start : start + V4_ENDPOINT] = endpoint
        else:
            self._where[start + V4_ENDPOINT : start + _BOTH] = endpoint
        return True

    def is_named(self, number: int, name: bytes) -> bool:
        """Tell whether a session has a name; cheaper than to find it."""
        start = number * NAME_LENGTH
        return self._names[start : start + NAME_LENGTH] == name

    def is_of(self, number: int, peer_id: bytes, key: bytes) -> bool:
        """Tell whether a session is of a client with a peer id, or else with a secret key."""
        name = self.name(number)
        if name.startswith(peer_id):
            return True
        # Where there is a key, the endpoint says nothing.
        return bool(key) and name[PEER_ID_LENGTH:] == session_name(b"", key, b"")

    def name(self, number: int) -> bytes:
        """Return a session's name."""
        start = number * NAME_LENGTH
        return bytes(self._names[start : start + NAME_LENGTH])

    def peer_id(self, number: int) -> bytes:
        """Return the peer id that a session's client announces."""
        start = number * NAME_LENGTH
        return bytes(self._names[start : start + PEER_ID_LENGTH])

    def key(self, number: int) -> bytes:
        """Return the client's secret, empty if it has none."""
        return key_of(self.name(number))

    def remove(self, number: int) -> None:
        """Forget a session without listed peers; the last one takes its number."""
        self._lookup.remove(number, self.name(number))
        last = len(self.flags) - 1
        if number != last:
            self._move(last, number)
        del self._names[last * NAME_LENGTH :]
        del self._where[last * _BOTH :]
        for column in (self.downloaded, self.uploaded, self.claimed, self._first):
            column.pop()
        self.seen.pop()
        self.flags.pop()
        columns = (self.downloaded, self.uploaded, self.claimed, self.seen, self._first)
        trim(columns, last)

    def _move(self, last: int, number: int) -> None:
        self._lookup.renumber(last, number, self.name(last))
        for rows, length in ((self._names, NAME_LENGTH), (self._where, _BOTH)):
            rows[number * length : (number + 1) * length] = rows[last * length :]
        for column in (self.downloaded, self.uploaded, self.claimed, self._first):
            column[number] = column[last]
        self.seen[number] = self.seen[last]
        self.flags[number] = self.flags[last]
        peer = self._first[number]
        while peer >= 0:
            self.of_peer[peer] = number
            peer = self._following[peer]

    # -- whose peers are listed

    def is_listed(self, number: int) -> bool:
        """Tell whether a session has a listed peer."""
        return self._first[number] >= 0

    def attach(self, number: int, peer: int, endpoint: bytes) -> None:
        """Note that a listed peer is a session's."""
        following, of_peer = self._first[number], self.of_peer
        if peer == len(of_peer):
            of_peer.append(number)
            self._following.append(following)
            self._before.append(-1)
        else:
            of_peer[peer] = number
            self._following[peer] = following
            self._before[peer] = -1
        if following >= 0:
            self._before[following] = peer
        self._first[number] = peer
        start = number * _BOTH
        # As `note_endpoint` has it.
        if len(endpoint) == V4_ENDPOINT:
            self._where[start : start + V4_ENDPOINT] = endpoint
        else:
            self._where[start + V4_ENDPOINT : start + _BOTH] = endpoint

    def detach(self, peer: int) -> int:
        """Note that a peer is its session's no more; return the session's number."""
        number = self.of_peer[peer]
        before, following = self._before[peer], self._following[peer]
        self._lead(number, before, following)
        if following >= 0:
            self._before[following] = before
        return number

    def renumber_last_peer(self, peer: int) -> None:
        """Note that the last peer has the number of one that was detached and is taken off."""
        number = self.of_peer.pop()
        before, following = self._before.pop(), self._following.pop()
        trim((self.of_peer, self._before, self._following), len(self.of_peer))
        if peer == len(self.of_peer):
            return
        self.of_peer[peer] = number
        self._before[peer], self._following[peer] = before, following
        self._lead(number, before, peer)
        if following >= 0:
            self._before[following] = peer

    def _lead(self, number: int, before: int, peer: int) -> None:
        """Have a peer, or the beginning of its session (-1), lead to another."""
        if before >= 0:
            self._following[before] = peer
        else:
            self._first[number] = peer

    def note_endpoint(self, number: int, endpoint: bytes) -> None:
        """Remember where a session's client announced from, by address family."""
        start = number * _BOTH
        if len(endpoint) == V4_ENDPOINT:
            self._where[start : start + V4_ENDPOINT] = endpoint
        else:
            self._where[start + V4_ENDPOINT : start + _BOTH] = endpoint

    def former_endpoint(self, number: int, endpoint: bytes) -> bytes:
        """Return where it was listed last by the family of `endpoint`, or b""."""
        start = number * _BOTH
        if len(endpoint) == V4_ENDPOINT:
            found = self._where[start : start + V4_ENDPOINT]
        else:
            found = self._where[start + V4_ENDPOINT : start + _BOTH]
        return bytes(found) if any(found) else b""

    def last_endpoint(self, number: int) -> bytes:
        """Return where it was listed last, by IPv4 if it ever was; or b""."""
        return self.former_endpoint(number, bytes(V4_ENDPOINT)) or self.former_endpoint(
            number, bytes(V6_ENDPOINT)
        )

    def copy(self) -> "Sessions":
        """Return all of it as it is now, to be read only."""
        copy = Sessions.__new__(Sessions)
        for name in ("_names", "_where", "flags", "seen", "of_peer"):
            setattr(copy, name, getattr(self, name)[:])
        for name in ("downloaded", "claimed"):
            setattr(copy, name, getattr(self, name)[:])
        return copy
