"""The metrics of where pieces come from: the cache, and S3."""

from collections.abc import Callable, Iterator, Mapping

from seeder.admin.exposition import Family, Histogram, Labels, counter, gauge, labels
from seeder.cache.pieces import CacheStatistics
from seeder.s3.operations import OPERATIONS, OUTCOMES, OriginStatistics


def cache_metrics(told: CacheStatistics) -> Iterator[Family]:
    """Yield the families of the cache."""
    limits = {"memory": told.memory_budget, "disk": told.disk_budget}
    by_tier: tuple[tuple[str, str, str, Callable[..., Family]], ...] = (
        ("bytes", "seeder_cache_bytes", "Bytes of pieces that are kept", gauge),
        ("pieces", "seeder_cache_pieces", "Pieces that are kept", gauge),
        ("hits", "seeder_cache_hits_total", "Pieces, or parts, that were there", counter),
        ("evictions", "seeder_cache_evictions_total", "Pieces that had to make room", counter),
    )
    for figure, name, text, family in by_tier:
        yield family(
            name,
            text,
            [(labels(tier=tier), getattr(told, f"{tier}_{figure}")) for tier in limits],
        )
    yield gauge(
        "seeder_cache_limit_bytes",
        "What [cache] allows",
        [(labels(tier=tier), limit) for tier, limit in limits.items()],
    )
    for name, text, value, family in (
        ("misses_total", "Pieces that S3 was asked for", told.misses, counter),
        (
            "dropped_writes_total",
            "Pieces that weren't written since the disk was too far behind",
            told.dropped_writes,
            counter,
        ),
        ("corrupt_total", "Copies of pieces found unfit and dropped", told.corrupt, counter),
        (
            "origin_mismatches_total",
            "Pieces from S3 that failed their hash, each try counted",
            told.origin_mismatches,
            counter,
        ),
        ("fetching_pieces", "Pieces on their way from S3 or from disk", told.fetching, gauge),
        ("queued_writes", "Pieces that wait to be written", told.queued_writes, gauge),
        ("disk_ok", "1 while the cache's disk works", int(told.disk_ok), gauge),
    ):
        yield family(f"seeder_cache_{name}", text, [("", value)])


def origin_metrics(origins: Mapping[str, OriginStatistics]) -> Iterator[Family | Histogram]:
    """Yield the families of S3, by origin."""
    yield counter(
        "seeder_s3_requests_total",
        "Attempts at S3's operations by what came of them; a retry is another one",
        (
            (
                labels(origin=name, operation=operation, outcome=outcome),
                told.operations.get((operation, outcome), 0),
            )
            for name, told in origins.items()
            for operation in OPERATIONS
            for outcome in OUTCOMES
        ),
    )
    yield Histogram(
        "seeder_s3_answer_seconds",
        "From asking S3 to the head of an answer that is no error",
        (
            (labels(origin=name, operation=operation), timings)
            for name, told in origins.items()
            for operation, timings in told.answer_times.items()
        ),
    )
    yield counter(
        "seeder_s3_errors_total",
        "Calls to S3 that failed for good, by kind",
        (
            (labels(origin=name, kind=kind), count)
            for name, told in origins.items()
            for kind, count in told.errors.items()
        ),
    )
    for name, text, figure, family in (
        ("retries_total", "Attempts that were made again", "retries", counter),
        (
            "switched_total",
            "Reads that went on over another connection, since others were much faster",
            "switched",
            counter,
        ),
        ("waiting_calls", "Calls to S3 that haven't ended", "waiting", gauge),
        ("reachable", "0 while S3 is away", "reachable", gauge),
    ):
        yield family(f"seeder_s3_{name}", text, _by_origin(origins, figure))
    yield gauge(
        "seeder_s3_stalled_seconds",
        "For how long nothing has come from S3 though something is wanted; 0 below 15 s",
        [
            (labels(origin=name), told.stall.seconds if told.stall is not None else 0)
            for name, told in origins.items()
        ],
    )
    yield gauge(
        "seeder_s3_last_answer_timestamp_seconds",
        "When anything came from S3 last",
        [
            (labels(origin=name), told.last_success)
            for name, told in origins.items()
            if told.last_success is not None
        ],
    )
    yield gauge(
        "seeder_s3_clock_ahead_seconds",
        "By how much S3's clock is ahead of this machine's, where it takes no other time; else 0",
        [(labels(origin=name), told.clock_ahead) for name, told in origins.items()],
    )


def _by_origin(origins: Mapping[str, OriginStatistics], figure: str) -> list[tuple[Labels, float]]:
    return [(labels(origin=name), int(getattr(told, figure))) for name, told in origins.items()]
