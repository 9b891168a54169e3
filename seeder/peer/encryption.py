"""The first bytes of a connection: plaintext BitTorrent, or MSE around it.

The first 20 bytes tell which of them it is. Afterwards plaintext passes through unchanged; an
encrypted connection has its two keystreams here.

No I/O.
"""

from collections.abc import Callable

from seeder.errors import WireError
from seeder.peer.mse import Keystream, MsePolicy, Responder, looks_plain, read_key


class EncryptionLayer:
    """Finds out whether a peer speaks plaintext or MSE; a `policy` of None refuses MSE.

    `respond` makes our side of MSE when it is needed, in the session's task.
    """

    __slots__ = (
        "_decrypt",
        "_first",
        "_out",
        "_policy",
        "_respond",
        "_responder",
        "encrypt",
        "settled",
        "waits",
    )

    def __init__(self, policy: MsePolicy | None, respond: Callable[[], Responder]) -> None:
        self.settled = False
        """Whether all that comes in is the peer wire by now: MSE is over, or there was none."""
        self.waits = False
        """Whether `exchange` has to be called: the peer's key is there, and our turn is dear."""
        self.encrypt: Keystream | None = None
        """What goes out passes through it; None for plaintext."""
        self._policy = policy
        self._respond = respond
        self._responder: Responder | None = None
        self._decrypt: Keystream | None = None
        self._first = b""
        self._out = b""

    def receive(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """Take what arrived; return the bytes of the peer wire in it, in clear; WireError."""
        if self.settled:
            return data if self._decrypt is None else self._decrypt.update(data)
        if self._responder is not None:
            return self._negotiate(self._responder, bytes(data))
        self._first += bytes(data)
        plain = looks_plain(self._first)
        if plain:
            if self._policy == "require":
                raise WireError("plaintext-refused")
            self.settled = True
            # It may be 64 KiB, which nobody needs once more.
            first, self._first = self._first, b""
            return first
        if plain is None:
            return b""
        if self._policy is None:
            raise WireError("not-bittorrent")
        self.waits = read_key(self._first) is not None
        return b""

    def exchange(self) -> bytes:
        """Answer the peer's key; return the bytes of the peer wire that came so far; WireError."""
        self.waits = False
        self._responder = self._respond()
        first, self._first = self._first, b""
        return self._negotiate(self._responder, first)

    def _negotiate(self, responder: Responder, data: bytes) -> bytes:
        # Its exponentiations run here and not in a thread: pow() keeps the GIL.
        outcome = responder.receive(data)
        self._out += responder.data_to_send()
        if outcome is None:
            return b""
        self.settled = True
        self._responder = None
        self.encrypt, self._decrypt = outcome.encrypt, outcome.decrypt
        return outcome.payload

    def data_to_send(self) -> bytes:
        """Return what the negotiation owes the peer, to be sent as it is."""
        data, self._out = self._out, b""
        return data
