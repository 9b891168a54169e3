"""Which connections are members' of a private swarm: those that the tracker let in. No I/O.

All that a peer shows of itself is its address, which nobody can forge, and its peer id, which is no
secret and with libtorrent another one for each connection. So a member is known by the address
that it announced from; the peer id, and the port that it says it listens on, tell the members at
one address apart. From another address of the same site a peer id is taken for a proof.
"""

from collections.abc import Callable, Collection

from seeder.net.addresses import Networks, networks_of
from seeder.tracker.holders import Holders
from seeder.tracker.members import Members, SwarmMember


class Doorkeeper:
    """Asks the tracker; `members` returns those of a torrent, by its info hash, if it has any."""

    def __init__(self, members: Callable[[bytes], Members | None], holders: Holders) -> None:
        self._members = members
        self._holders = holders

    def is_private(self, info_hash: bytes) -> bool:
        """Tell whether only members may have a torrent."""
        return self._members(info_hash) is not None

    def may_come(self, info_hash: bytes, networks: Networks) -> bool:
        """Tell whether a connection from an address may be a member's: its peer id has yet to come.

        It may, of any torrent that isn't private.
        """
        members = self._members(info_hash)
        if members is None or any(map(self.is_good, members.at(networks[0]))):
            return True
        return members.has_near(networks)

    def find(
        self, info_hash: bytes, networks: Networks, peer_id: bytes, taken: Collection[SwarmMember]
    ) -> SwarmMember | None:
        """Return the member whose connection this is; None if it is nobody's.

        `taken` are those that have one already: for another peer id, that isn't known, they don't
        vouch again.
        """
        members = self._members(info_hash)
        if members is None:
            return None
        known = members.with_id(peer_id)
        if known is not None:
            theirs = networks_of(known.endpoint[:-2])
            if theirs[-1] == networks[-1] and self.is_good(known):
                return known
            if theirs[0] == networks[0]:
                return None
        at_address = members.at(networks[0])
        return next((each for each in at_address if self.is_good(each) and each not in taken), None)

    def at_port(self, info_hash: bytes, networks: Networks, port: int) -> SwarmMember | None:
        """Return the member at an address that announced a port, good or not."""
        members = self._members(info_hash)
        at_address = () if members is None else members.at(networks[0])
        return next((each for each in at_address if each.port == port), None)

    def is_good(self, member: SwarmMember) -> bool:
        """Tell whether a member's passkey still is."""
        return self._holders.is_good(member.passkey)
