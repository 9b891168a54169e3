"""The limits in use: how much of what the configuration allows is taken."""

from collections.abc import Iterator

from seeder.config.origins import DEFAULT_ORIGIN
from seeder.ledger.report import Document
from seeder.s3.origins import Origins
from seeder.upload.uploads import Uploads


def limits(uploads: Uploads, origins: Origins) -> Iterator[Document]:
    """Yield each limit by the name of its setting, with what is used of it now.

    `unit` is connections, uploads, bytes_per_second or calls. Of a rate it isn't told what is used,
    and of calls to S3 not how many go at a time, but whether others wait for it.
    """
    settings, connections = uploads.settings, uploads.connections
    yield _limit("peer.connections", "connections", settings.connections, connections.peers)
    yield _limit(
        "peer.connections_per_torrent",
        "connections",
        settings.connections_per_torrent,
        connections.most_of_torrent,
    )
    if uploads.slots.places is not None:
        yield _limit("peer.upload_slots", "uploads", uploads.slots.places, uploads.slots.served)
    if settings.upload_rate is not None:
        rate = round(settings.upload_rate)
        yield _limit("peer.upload_rate", "bytes_per_second", rate, None, full=uploads.is_short)
    for name, origin in origins.items():
        section = "origin" if name == DEFAULT_ORIGIN else f"origins.{name}"
        waiting = origin.statistics().waiting
        yield _limit(f"{section}.connections", "calls", None, waiting, full=origin.is_busy)


def _limit(
    setting: str, unit: str, most: int | None, used: int | None, *, full: bool = False
) -> Document:
    return {
        "setting": setting,
        "unit": unit,
        "limit": most,
        "used": used,
        "full": full or (used is not None and most is not None and used >= most),
    }
