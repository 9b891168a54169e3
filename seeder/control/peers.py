"""The connected peers: /api/v1/peers."""

from collections.abc import Sequence
from http import HTTPStatus

import trio

from seeder.admin.peers import PeerRates, unix
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    QueryObject,
)
from seeder.control.values import ListLimit
from seeder.peer.standing import PeerStanding

_OLD = 10.0
"""Seconds after which it isn't by the last look that rates are told."""
_APART = 1.0
"""Seconds between two looks then."""


class PeerQuery(QueryObject):
    """Which peers are asked for."""

    object: str | None = None
    """BUCKET/KEY: those of this object alone."""
    limit: ListLimit = 100
    """How many: those that are fastest."""


class TorrentName(JsonObject):
    """The name of a published object."""

    origin: str
    bucket: str
    key: str
    version_id: str | None


class PeerObject(JsonObject):
    """A connected peer."""

    address: str
    port: int
    client: str
    """As it calls itself."""
    torrent: TorrentName
    name: str | None
    """Of a private torrent: whose passkey it has."""
    share: float
    """Of the pieces, those that it says it has, 0 to 1."""
    uploaded_bytes: int
    """Payload that it was sent over this connection."""
    rate: int
    """Bytes a second of it, of late."""
    encrypted: bool
    choked: bool
    """Whether it may request nothing now."""
    interested: bool
    connected_at: int
    """Unix s."""


class PeerObjects(JsonObject):
    """Connected peers, the fastest first."""

    peers: list[PeerObject]
    connected: int
    """How many there are in all, also without a torrent yet."""


class PeerResource:
    """The connected peers."""

    def __init__(self, rates: PeerRates) -> None:
        self._rates = rates

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        return (
            ApiOperation(
                method="GET",
                template="/peers",
                name="listPeers",
                summary="The connected peers",
                query=PeerQuery,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: PeerObjects},
            ),
        )

    async def _list(self, call: ApiCall[PeerQuery, Nothing]) -> ApiAnswer:
        rates, name = self._rates, call.query.object
        if rates.age > _OLD:
            await rates.look()
            await trio.sleep(_APART)
        await rates.look()
        found = rates.fastest(
            lambda peer: name is None or str(peer.torrent.pinned.ref) == name, call.query.limit
        )
        told = [_told(peer, rate) for peer, rate in found]
        return ApiAnswer(PeerObjects(peers=told, connected=rates.hub.statistics().connected))


def _told(peer: PeerStanding, rate: float) -> PeerObject:
    ref = peer.torrent.pinned.ref
    return PeerObject(
        address=peer.address[0],
        port=peer.address[1],
        client=peer.client,
        torrent=TorrentName(
            origin=ref.origin, bucket=ref.bucket, key=ref.key, version_id=ref.version_id
        ),
        name=peer.holder,
        share=round(peer.share, 4),
        uploaded_bytes=peer.uploaded,
        rate=round(rate),
        encrypted=peer.encrypted,
        choked=peer.choked,
        interested=peer.interested,
        connected_at=unix(peer.opened_at),
    )
