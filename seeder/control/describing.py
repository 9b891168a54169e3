"""How a published object stands, as the control API tells it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seeder.admin.accounts import Accounts
from seeder.admin.stalls import StalledObjects
from seeder.cache.pieces import PieceCache
from seeder.config.added import EntryName
from seeder.config.spelling import spelled
from seeder.control.looks import LookState, told_look
from seeder.control.operations import JsonObject, OpenObject
from seeder.gateway.links import Links
from seeder.ledger.savings import Prices
from seeder.net.epoch import Epoch
from seeder.publish.additions import Additions, EntrySource
from seeder.publish.publisher import Publisher
from seeder.torrent.info import safe_name
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import UNFIT, Publication
from seeder.torrent.torrent import Torrent


class WarmingState(JsonObject):
    """How far an object's pieces are read into the cache, because somebody asked for it."""

    done_bytes: int
    total_bytes: int | None
    """null while the object's size isn't known."""
    reason: str | None
    """Why they aren't read, or not yet."""


class ObjectState(LookState, OpenObject):
    """An object and its torrent; what was counted for it stands beside, as in /status.json."""

    origin: str
    bucket: str
    key: str
    """A bundle's is its prefix."""
    version_id: str | None
    bundle: bool
    state: str
    """As in /status.json; "unfit" is an added entry that is wrong by now."""
    reason: str | None
    """Why the state is what it is."""
    info_hash: str | None
    info_hash_v2: str | None
    size: int | None
    pieces: int | None
    torrent_url: str
    magnet: str | None
    """null while there is no torrent, and for one that is made for each holder of a passkey."""
    peers: int
    seeds: int
    configured_in: str | None
    """The file with its entry, or "the environment", if that is the configuration's."""
    source: EntrySource
    """"prefix" is for an object without an entry of its own."""
    prefix: str | None
    """The prefix by which it is published, if it has no entry of its own."""
    shadowed: bool
    """Whether an added entry of it waits for the configuration's to go."""
    added_at: float | None
    """When its entry was added (Unix s)."""
    publish_at: float | None
    """Until when nobody hears of it (Unix s)."""
    private: bool
    seeded_here: bool
    """Whether this node seeds it, and not others of the cluster alone."""
    cached_bytes: int
    """Of its pieces in the cache; the last one counts as a whole one."""
    warming: WarmingState | None
    settings: dict[str, Any] | None = None
    """The keys of its entry that differ from their defaults; with one object alone."""
    warnings: list[str] | None = None
    """What is legal of its entry, and hardly meant; with an answer to who adds or changes it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Describer:
    """Describes the objects of a node."""

    accounts: Accounts
    publisher: Publisher
    additions: Additions
    cache: PieceCache[Torrent]
    links: Links
    prices: Callable[[], Prices]
    stalled: Callable[[], StalledObjects]
    warming_of: Callable[[ObjectRef], tuple[int, str | None] | None]
    """Returns the bytes that are read into the cache, and why it doesn't go on, if so."""
    is_ours: Callable[[ObjectRef], bool]
    """Tells whether this node of the cluster seeds an object."""
    epoch: Epoch

    def describe(
        self, ref: ObjectRef, stalled: StalledObjects, *, whole: bool = False
    ) -> ObjectState | None:
        """Return how an object stands, with its settings if `whole`; None if it isn't there."""
        publication = self.accounts.catalog.publications.get(ref)
        name = EntryName(ref, False)
        if publication is None:
            return self._unfit(name)
        settings = self.publisher.settings_of(ref)
        torrent = self.publisher.torrent_of(ref)
        owner = self.publisher.prefix_of(ref)
        added = self.additions.find(name)
        row = self.accounts.row(publication, stalled)
        counted = row.document(self.prices())
        told: dict[str, Any] = {k: counted[k] for k in counted if k not in _OTHERWISE}
        told |= self._of_torrent(publication, torrent)
        return ObjectState(
            origin=ref.origin,
            bucket=ref.bucket,
            key=ref.key,
            version_id=ref.version_id,
            bundle=publication.bundle,
            state=str(row.state),
            reason=row.reason,
            torrent_url=f"{self.links.object_url(ref)}?torrent",
            configured_in=self.additions.configuration_of(name),
            source=self.additions.source_of(name),
            prefix=None if owner is None else owner.key,
            shadowed=self.additions.is_shadowed(name),
            added_at=None if added is None else added.at / 1e6,
            publish_at=None if settings is None else settings.publish_at,
            private=settings is not None and settings.private,
            seeded_here=self.is_ours(ref),
            warming=self._warming(publication),
            settings=spelled(settings) if whole and settings is not None else None,
            **told_look(self.publisher.looked(name), self.epoch),
            **told,
        )

    def _of_torrent(self, publication: Publication, torrent: Torrent | None) -> Mapping[str, Any]:
        size = None if publication.pinned is None else publication.pinned.size
        if torrent is None:
            return {
                "info_hash": None,
                "info_hash_v2": None,
                "size": size,
                "pieces": None,
                "magnet": None,
                "peers": 0,
                "seeds": 0,
                "cached_bytes": 0,
            }
        swarm = self.accounts.swarms.statistics(torrent.info_hash)
        name = safe_name(publication.ref.key)
        is_given = not publication.for_members
        magnet = self.links.magnet(torrent, public=publication.public, name=name)
        held = len(self.cache.held(torrent)) * torrent.layout.piece_length
        return {
            "info_hash": torrent.info_hash.hex(),
            "info_hash_v2": None if torrent.v2_hash is None else torrent.v2_hash.hex(),
            "size": torrent.pinned.size,
            "pieces": torrent.layout.piece_count,
            "magnet": magnet if is_given else None,
            "peers": swarm.peers,
            "seeds": swarm.seeds,
            "cached_bytes": min(held, torrent.pinned.size),
        }

    def _warming(self, publication: Publication) -> WarmingState | None:
        found = self.warming_of(publication.ref)
        if found is None:
            return None
        done, reason = found
        size = None if publication.pinned is None else publication.pinned.size
        return WarmingState(done_bytes=done, total_bytes=size, reason=reason)

    def _unfit(self, name: EntryName) -> ObjectState | None:
        added = self.additions.find(name)
        if added is None or added.fault is None:
            return None
        ref = name.ref
        return ObjectState(
            origin=ref.origin,
            bucket=ref.bucket,
            key=ref.key,
            version_id=ref.version_id,
            bundle=False,
            state=UNFIT,
            reason=added.fault,
            info_hash=None,
            info_hash_v2=None,
            size=None,
            pieces=None,
            torrent_url=f"{self.links.object_url(ref)}?torrent",
            magnet=None,
            peers=0,
            seeds=0,
            configured_in=None,
            source="added",
            prefix=None,
            shadowed=False,
            added_at=added.at / 1e6,
            publish_at=None,
            asked_at=None,
            looked_at=None,
            look_fault=None,
            private=False,
            seeded_here=self.is_ours(ref),
            cached_bytes=0,
            warming=None,
        )


_OTHERWISE = {
    *("origin", "bucket", "key", "version", "state", "reason"),
    *("info_hash", "size", "pieces", "peers", "seeds"),
}
"""What rows of /status.json have by other names, or from another time."""
