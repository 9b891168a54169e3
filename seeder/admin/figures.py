"""The metrics of what is counted by object: by origin and by prefix always, by object where few.

The same figures stand below three names: `seeder_node_...` by origin, `seeder_prefix_...` by
prefix, and `seeder_...` by object. A counter never shrinks; what can (saved bytes, peers) is a
gauge.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from operator import attrgetter
from typing import TypeAlias

from seeder.admin.exposition import Family, Labels, counter, gauge, labels, with_label
from seeder.admin.sums import Sum, Sums, by_origin
from seeder.ledger.counters import Counters
from seeder.ledger.savings import BYTES_PER_GB, Prices, savings
from seeder.torrent.objects import Purpose

_Scope: TypeAlias = Collection[Sum]
_Series: TypeAlias = tuple[Labels, float]

_BY_PURPOSE: tuple[tuple[str, str, Callable[[Counters], Mapping[Purpose, int]]], ...] = (
    (
        "origin_bytes_total",
        "Body bytes received from S3 (measured)",
        Counters.origin_bytes_by_purpose,
    ),
    (
        "origin_requests_total",
        "Requests sent to S3, retries included (measured)",
        Counters.origin_requests_by_purpose,
    ),
)
# Counter attribute -> metric and help.
_COUNTED = {
    "requester_charged": (
        "origin_requester_charged_requests_total",
        "Requests that S3 said it charged us for as the requester",
    ),
    "uploaded_bytes": ("uploaded_bytes_total", "Piece payload sent to peers (measured)"),
    "protocol_bytes": (
        "protocol_bytes_total",
        "Bytes sent to peers and HTTP clients that were no piece payload (measured)",
    ),
    "delivered_verified_bytes": (
        "delivered_verified_bytes_total",
        "Bytes that we sent, or that peers can have had of each other (verified)",
    ),
    "delivered_claimed_bytes": (
        "delivered_claimed_bytes_total",
        "Bytes that peers announced as downloaded (claimed)",
    ),
    "completed": ("completed_downloads_total", "Downloads announced as completed (claimed)"),
    "peers_seen": ("peer_sessions_total", "Peer sessions but those of seeds (measured)"),
}
_SAVED = {
    "delivered_verified_bytes": ("saved_verified_bytes", "Delivered (verified) less from S3"),
    "delivered_claimed_bytes": ("saved_claimed_bytes", "Delivered (claimed) less from S3"),
}
_MONEY = {
    "origin_money": ("origin_money", "What S3 charges for what came from it, at [savings] prices"),
    "saved_verified_money": (
        "saved_verified_money",
        "What the delivered bytes (verified) would have cost, less what S3 charges",
    ),
    "saved_claimed_money": (
        "saved_claimed_money",
        "What the delivered bytes (claimed) would have cost, less what S3 charges",
    ),
}
_STANDING = {
    "objects": ("objects", "Objects that are published now"),
    "size": ("objects_bytes", "Their bytes"),
    "pieces": ("objects_pieces", "Their pieces"),
}
_SWARM = {
    "peers": ("swarm_peers", "Peers in the swarm, seeds included, as announced"),
    "seeds": ("swarm_seeds", "Peers in the swarm with the whole object, as announced"),
}


def figures(sums: Sums, prices: Prices) -> Iterator[Family]:
    """Yield every family of them."""
    yield from _summed("seeder_node_", by_origin(sums.prefixes).values(), prices)
    yield from _summed("seeder_prefix_", sums.prefixes.values(), prices)
    if sums.objects is not None:
        yield from _summed("seeder_", sums.objects.values(), prices)
        yield from _of_objects(sums.objects.values())
    yield gauge(
        "seeder_price_per_byte",
        "What a byte from S3 costs by [savings], from a volume of a month on",
        [
            (labels(from_bytes=str(begin)), price / BYTES_PER_GB)
            for begin, price in prices.tiers or ((0, prices.price_per_gb),)
        ],
    )
    yield gauge(
        "seeder_price_per_request",
        "What a request to S3 costs by [savings]",
        [("", prices.price_per_1000_requests / 1000)],
    )


def _summed(prefix: str, scope: _Scope, prices: Prices) -> Iterator[Family]:
    yield from _counted(prefix, scope)
    yield from _taken(prefix, scope, {**_STANDING, **_SWARM})
    for attribute, (name, text) in _MONEY.items():
        yield gauge(prefix + name, text, _each_money(scope, prices, attribute))


def _of_objects(scope: _Scope) -> Iterator[Family]:
    yield gauge(
        "seeder_state",
        "1 for the state that the object is in",
        (
            (with_label(each.labels, "state", state), 1)
            for each in scope
            for state in sorted(each.states)
        ),
    )
    yield gauge(
        "seeder_build_progress_ratio",
        "Share of the object that is hashed, while its torrent is made",
        ((each.labels, each.progress) for each in scope if each.progress is not None),
    )
    yield gauge(
        "seeder_stalled_seconds",
        "Since when S3 gives nothing of the object, though it is asked",
        ((each.labels, each.stalled) for each in scope if each.stalled),
    )


def _counted(prefix: str, scope: _Scope) -> Iterator[Family]:
    for name, text, pick in _BY_PURPOSE:
        yield counter(prefix + name, text, _each_purpose(scope, pick))
    for attribute, (name, text) in _COUNTED.items():
        figure = attrgetter(f"counters.{attribute}")
        yield counter(prefix + name, text, _each(scope, figure))
    for attribute, (name, text) in _SAVED.items():
        delivered = attrgetter(f"counters.{attribute}")
        yield gauge(prefix + name, text, _each_less_origin(scope, delivered))


def _taken(prefix: str, scope: _Scope, names: Mapping[str, tuple[str, str]]) -> Iterator[Family]:
    for attribute, (name, text) in names.items():
        yield gauge(prefix + name, text, _each(scope, attrgetter(attribute)))


# The series are written later, when a loop that made them has gone on.


def _each(scope: _Scope, figure: Callable[[Sum], float]) -> Iterator[_Series]:
    return ((each.labels, figure(each)) for each in scope)


def _each_purpose(
    scope: _Scope, pick: Callable[[Counters], Mapping[Purpose, int]]
) -> Iterator[_Series]:
    for each in scope:
        for purpose, count in pick(each.counters).items():
            yield with_label(each.labels, "purpose", purpose), count


def _each_less_origin(scope: _Scope, delivered: Callable[[Sum], int]) -> Iterator[_Series]:
    return ((each.labels, delivered(each) - each.counters.origin_bytes) for each in scope)


def _each_money(scope: _Scope, prices: Prices, attribute: str) -> Iterator[_Series]:
    for each in scope:
        yield each.labels, getattr(savings(each.counters, size=None, prices=prices), attribute)
