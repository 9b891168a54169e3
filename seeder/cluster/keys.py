"""The names of a cluster's keys in Redis; seeder/README.md says what each holds.

All begin with the cluster's prefix, so that several clusters share a Redis, and an ACL can hold the
user to them: ~PREFIX:*. Each expires by itself when nobody writes it any more.

No I/O.
"""

from dataclasses import dataclass
from typing import NamedTuple


class MapKeys(NamedTuple):
    """The keys of a map that all nodes have."""

    values: bytes
    """A hash: the values by name."""
    changes: bytes
    """A sorted set: the names by the number of their last change."""
    ends: bytes
    """A sorted set: the names of those that end, by when (Unix s)."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the cluster with this prefix."""

    prefix: str

    def _key(self, *names: str) -> bytes:
        return ":".join((self.prefix, *names)).encode()

    def _map(self, name: str) -> MapKeys:
        return MapKeys(self._key(name), self._key(name, "changes"), self._key(name, "ends"))

    @property
    def nodes(self) -> bytes:
        """A hash: each member by its name, as `members` writes it."""
        return self._key("nodes")

    @property
    def news(self) -> bytes:
        """A stream: what nodes hear of peers, a batch an entry."""
        return self._key("news")

    def peers(self, bucket: int, shard: int) -> bytes:
        """A hash: peers that were last seen in one span of time, by torrent and endpoint."""
        return self._key("peers", str(bucket), str(shard))

    @property
    def counters(self) -> bytes:
        """A sorted set: the nodes that have counted completions, by when they last did."""
        return self._key("counters")

    def completed(self, name: bytes) -> bytes:
        """A hash: the completions that one node has counted, by torrent."""
        return self._key("completed") + b":" + name

    def budget(self, limit: str, period: int) -> bytes:
        """A hash: what each node has spent of one limit in one period, and may spend."""
        return self._key("budget", limit, str(period))

    @property
    def era(self) -> bytes:
        """A text that is made anew when the store has lost what it held."""
        return self._key("era")

    def made(self, name: str) -> bytes:
        """Metainfo that one node made, as `workshop` has it."""
        return self._key("made", name)

    def lease(self, name: str) -> bytes:
        """The token of the node that makes it."""
        return self._key("lease", name)

    @property
    def wants(self) -> bytes:
        """A sorted set: what nodes lack of that, by the time at which they said so."""
        return self._key("wants")

    @property
    def passkeys(self) -> MapKeys:
        """For whom passkeys were made, and whose are revoked."""
        return self._map("passkeys")

    @property
    def passkey_secrets(self) -> MapKeys:
        """What nodes sign passkeys with, and since when."""
        return self._map("signers")

    @property
    def bans(self) -> MapKeys:
        """What was last said of each network that is kept out, or was."""
        return self._map("banned")

    @property
    def entries(self) -> MapKeys:
        """What was said last of each entry that was added."""
        return self._map("entries")

    @property
    def udp_secret(self) -> bytes:
        """By which connection ids of the UDP tracker are made."""
        return self._key("udp-secret")
