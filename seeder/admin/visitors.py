"""The metrics of those who come to the public listeners: peers, and clients of the tracker."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from seeder.admin.exposition import Family, Labels, counter, gauge, labels
from seeder.gateway.certificates import LiveCertificate
from seeder.http.tls import HandshakeResult
from seeder.ledger.groups import GroupCounts
from seeder.peer.hub import CONNECTION_STATES, HubStatistics
from seeder.peer.reasons import CLOSES, REFUSALS
from seeder.tracker.holders import Refused
from seeder.tracker.tallies import ANNOUNCE_OUTCOMES, EVENTS, UNREAD, TrackerTallies


def peer_metrics(hub: HubStatistics, places: int, downloads: int) -> Iterator[Family]:
    """Yield the families of peers, as many as have `places`, and of downloads over HTTP."""
    yield gauge(
        "seeder_peer_connections",
        "Connected peers by what they are about",
        [(labels(state=state), hub.states.get(state, 0)) for state in CONNECTION_STATES],
    )
    yield gauge("seeder_peer_connections_limit", "Peers that find a place", [("", places)])
    yield gauge("seeder_http_downloads", "Downloads over HTTP under way", [("", downloads)])
    yield counter(
        "seeder_peer_connections_accepted_total",
        "Connections of peers, refused ones included",
        [("", hub.accepted)],
    )
    yield counter(
        "seeder_peer_closes_total",
        "Connections of peers that have ended, refused ones included, by reason",
        _by_reason(CLOSES, hub.closes),
    )
    yield counter(
        "seeder_peer_refusals_total",
        "Connections of peers that found no place, by reason",
        _by_reason(REFUSALS, hub.refusals),
    )


def _by_reason(known: Sequence[str], counts: Mapping[str, int]) -> list[tuple[Labels, float]]:
    every = {**dict.fromkeys(known, 0), **counts}
    return [(labels(reason=reason), count) for reason, count in every.items()]


def tracker_metrics(tallies: TrackerTallies) -> Iterator[Family]:
    """Yield the families of announces and scrapes."""
    announces: dict[tuple[str, str], int] = {
        (event, outcome): 0
        for event in EVENTS
        for outcome in ANNOUNCE_OUTCOMES
        if outcome != "malformed"
    }
    announces |= {(UNREAD, "malformed"): 0, (UNREAD, "too-often"): 0}
    announces.update(tallies.announces.items())
    yield counter(
        "seeder_announces_total",
        "Announces by event and by what became of them",
        [
            (labels(event=event, outcome=outcome), count)
            for (event, outcome), count in announces.items()
        ],
    )
    outcomes = [outcome for outcome in ANNOUNCE_OUTCOMES if outcome != "unknown-torrent"]
    yield counter(
        "seeder_scrapes_total",
        "Scrapes by what became of them",
        [(labels(outcome=outcome), tallies.scrapes[outcome]) for outcome in outcomes],
    )
    yield counter(
        "seeder_private_refusals_total",
        "Announces and requests without a good passkey for a private torrent, by what it lacked",
        [(labels(reason=reason.value), tallies.kept_out[reason]) for reason in Refused],
    )


def group_metrics(groups: Mapping[str, GroupCounts]) -> Iterator[Family]:
    """Yield what was counted by groups of addresses."""
    for name, text, figure in (
        ("uploaded_bytes", "Piece payload that we sent to its addresses", "sent_bytes"),
        (
            "delivered_verified_bytes",
            "Bytes that we saw its peers gain, from us and from others",
            "delivered_verified_bytes",
        ),
        (
            "downloaded_claimed_bytes",
            "Bytes that its peers announced as downloaded",
            "downloaded_claimed_bytes",
        ),
        (
            "uploaded_claimed_bytes",
            "Bytes that its peers announced as uploaded",
            "uploaded_claimed_bytes",
        ),
    ):
        series = [
            (labels(group=group), getattr(counts, figure)) for group, counts in groups.items()
        ]
        yield counter(f"seeder_group_{name}_total", f"{text}, by group", series)


def certificate_metrics(certificate: LiveCertificate | None) -> Iterator[Family]:
    """Yield the families of TLS; without it they tell of nothing."""
    ends = [] if certificate is None else [("", certificate.current.ends)]
    yield gauge(
        "seeder_tls_certificate_expiry_timestamp_seconds",
        "When the certificate of the public listeners expires; nothing without TLS",
        ends,
    )
    fault = certificate is not None and certificate.fault is not None
    yield gauge(
        "seeder_tls_certificate_refused",
        "1 while the files of certificate and key can't be used and former ones are in force",
        [("", int(fault))],
    )
    counts = Counter[HandshakeResult]() if certificate is None else certificate.handshakes
    yield counter(
        "seeder_tls_handshakes_total",
        "Connections to the public listeners with TLS by how they began",
        [(labels(result=how), counts[how]) for how in HandshakeResult],
    )
