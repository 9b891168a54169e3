"""What BEP 9, 10, 11, 21 and 54 add: the extended handshake, metadata, peers, lost pieces.

No I/O.
"""

import re
from collections.abc import Callable

from seeder.errors import BencodeError, WireError
from seeder.peer import messages
from seeder.peer.messages import BLOCK_SIZE
from seeder.peer.protocol import Introduced, WantsNothing
from seeder.torrent import bencode

MOST_EXTENDED_HANDSHAKES = 10
METADATA_COPIES = 4
"""Copies of the info dictionary that one connection may have, and so have waiting; its address has
an allowance of its own (`seeder.upload.descriptions`)."""
MOST_VALUES_ASKED = 100
"""In a request for metadata, which has two; a peer may send a hundred requests a second, and to
read as many values as a message holds takes 20 ms."""
LONGEST_CLIENT_NAME = 64
"""Bytes of it that are kept."""

UT_PEX = 1
UT_METADATA = 2
UPLOAD_ONLY = 3
LT_DONTHAVE = 4
"""The ids under which peers send us these extensions' messages (BEP 10 `m`)."""

_REQUEST, _DATA, _REJECT = range(3)
"""BEP 9 `msg_type`."""

_AZUREUS_STYLE = re.compile(rb"-([0-9A-Za-z]{6})-")


class Extensions:
    """The extensions that one peer and we speak; what has to be sent is appended to `out`."""

    __slots__ = (
        "_introductions",
        "_metadata_id",
        "_metadata_left",
        "_out",
        "_parts",
        "_private",
        "_raw_info",
        "donthave_id",
        "metadata_wanted",
        "pex_id",
    )

    def __init__(self, raw_info: bytes, *, private: bool, out: bytearray) -> None:
        self.metadata_wanted: list[int] = []
        """Parts of the info dictionary that the peer waits for."""
        self._raw_info = raw_info
        self._private = private
        self._out = out
        self.pex_id = 0
        """The id under which the peer takes peer exchange; 0 if it doesn't (BEP 11)."""
        self.donthave_id = 0
        """The id under which the peer hears of lost pieces; 0 if it doesn't (BEP 54)."""
        self._metadata_id = 0
        self._parts = -(-len(raw_info) // BLOCK_SIZE)
        self._metadata_left = METADATA_COPIES * self._parts
        self._introductions = 0

    def introduce(
        self, client: str, your_ip: bytes, *, request_queue: int, upload_only: bool
    ) -> None:
        """Queue our extended handshake."""
        # rTorrent 0.9.8 crashes on an extended handshake of 1000 bytes: keep it small.
        names: dict[bytes, bencode.Value] = {
            b"upload_only": UPLOAD_ONLY,
            b"lt_donthave": LT_DONTHAVE,
        }
        if not self._private:
            names |= {b"ut_metadata": UT_METADATA, b"ut_pex": UT_PEX}
        introduction: dict[bytes, bencode.Value] = {
            b"m": names,
            b"v": client.encode(),
            b"reqq": request_queue,
            b"yourip": your_ip,
            b"metadata_size": len(self._raw_info),
        }
        if upload_only:
            introduction |= {b"upload_only": 1, b"complete_ago": 0}
        self._out += messages.extended(0, bencode.encode(introduction))

    def receive(self, payload: bytes) -> list[Introduced | WantsNothing]:
        """Take one extended message and return what it means; WireError ends the session."""
        identifier = payload[0] if payload else None
        if identifier == 0:
            return self._receive_introduction(payload[1:])
        if identifier == UT_METADATA:
            self._receive_metadata_request(payload[1:])
        elif identifier == UPLOAD_ONLY and payload[1:] not in (b"", b"\x00"):
            return [WantsNothing()]
        # All else is ignored. Peer exchange: we dial nobody. "Don't have": what a peer loses was
        # sent all the same, and super-seeding notices a piece that nobody gets.
        return []

    def _receive_introduction(self, payload: bytes) -> list[Introduced | WantsNothing]:
        self._introductions += 1
        if self._introductions > MOST_EXTENDED_HANDSHAKES:
            raise WireError("extended-handshake-flood")
        try:
            told = bencode.decode(payload, canonical=False)
        except BencodeError as error:
            raise WireError("bad-extended-handshake", str(error)) from error
        if not isinstance(told, dict):
            raise WireError("bad-extended-handshake", "not a dictionary")
        names = told.get(b"m")
        if isinstance(names, dict):
            self._metadata_id = _identifier(names.get(b"ut_metadata"), self._metadata_id)
            if not self._metadata_id:
                # Taken back: an answer would go out as an extended handshake, whose id is 0.
                self.metadata_wanted.clear()
            self.donthave_id = _identifier(names.get(b"lt_donthave"), self.donthave_id)
            if not self._private:
                self.pex_id = _identifier(names.get(b"ut_pex"), self.pex_id)
        name, port = told.get(b"v"), told.get(b"p")
        introduced = Introduced(
            _clean(name) if isinstance(name, bytes) else "",
            port if isinstance(port, int) and 0 < port < 65536 else None,
        )
        return [introduced, WantsNothing()] if told.get(b"upload_only") == 1 else [introduced]

    def _receive_metadata_request(self, payload: bytes) -> None:
        try:
            asked, _ = bencode.decode_prefix(
                payload, canonical=False, most_values=MOST_VALUES_ASKED
            )
        except BencodeError as error:
            raise WireError("bad-metadata-message", str(error)) from error
        if not self._metadata_id or not isinstance(asked, dict):
            return
        index = asked.get(b"piece")
        if asked.get(b"msg_type") != _REQUEST or not isinstance(index, int):
            return
        if 0 <= index < self._parts and self._metadata_left and not self._private:
            self._metadata_left -= 1
            self.metadata_wanted.append(index)
        else:
            self._answer({b"msg_type": _REJECT, b"piece": index})

    def send_pex(self, payload: bytes) -> None:
        """Queue a peer exchange message (BEP 11)."""
        self._out += messages.extended(self.pex_id, payload)

    def send_donthave(self, index: int) -> None:
        """Queue the message that takes a piece back (BEP 54)."""
        self._out += messages.extended(self.donthave_id, index.to_bytes(4))

    def answer_metadata(self, admit: Callable[[int], bool]) -> None:
        """Queue the answer to the oldest waiting metadata request (BEP 9).

        It is a reject unless `admit` lets the peer have so many bytes.
        """
        index = self.metadata_wanted.pop(0)
        part = self._raw_info[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        if not admit(len(part)):
            self._answer({b"msg_type": _REJECT, b"piece": index})
            return
        size = len(self._raw_info)
        self._answer({b"msg_type": _DATA, b"piece": index, b"total_size": size}, part)

    def _answer(self, answer: dict[bytes, bencode.Value], part: bytes = b"") -> None:
        self._out += messages.extended(self._metadata_id, bencode.encode(answer) + part)


def _identifier(told: bencode.Value | None, before: int) -> int:
    return told if isinstance(told, int) and 0 <= told <= 255 else before


def client_of(peer_id: bytes) -> str:
    """Return what a peer id says of the client, such as "WW0300"; empty if nothing (BEP 20)."""
    found = _AZUREUS_STYLE.match(peer_id)
    return found[1].decode("ascii") if found else ""


def _clean(name: bytes) -> str:
    # Peers choose this text and it goes into logs: printable ASCII only, and short.
    text = name[:LONGEST_CLIENT_NAME].decode("ascii", "replace")
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text)
