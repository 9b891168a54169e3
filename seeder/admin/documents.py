"""Parts of /status.json that stand for themselves."""

from collections.abc import Mapping
from typing import TypeVar

from seeder.admin.stalls import stall_document
from seeder.gateway.certificates import LiveCertificate
from seeder.http.tls import HandshakeResult
from seeder.ledger.database import LedgerStatistics
from seeder.s3.origins import Origins

_Outer = TypeVar("_Outer", bound=str)
_Inner = TypeVar("_Inner", bound=str)


def origins_document(origins: Origins) -> dict[str, object]:
    """Return how each origin stands, in the form of /status.json."""
    return {
        name: {
            "reachable": told.reachable,
            "since": told.since,
            "reason": told.reason,
            "last_success": told.last_success,
            "clock_ahead": told.clock_ahead,
            "requests": told.requests,
            "retries": told.retries,
            "switched": told.switched,
            "errors": dict(told.errors),
            "last_error": told.last_error,
            "operations": nested(told.operations),
            "waiting": told.waiting,
            "stalled": stall_document(told.stall),
        }
        for name, told in origins.statistics().items()
    }


def certificate_document(certificate: LiveCertificate | None) -> dict[str, object] | None:
    """Return the certificate in force and how handshakes ended, in the form of /status.json."""
    if certificate is None:
        return None
    return {
        "names": certificate.current.names,
        "ends": certificate.current.ends,
        "fault": certificate.fault,
        "handshakes": {how: certificate.handshakes[how] for how in HandshakeResult},
    }


def ledger_document(statistics: LedgerStatistics) -> dict[str, object]:
    """Return how writing the ledger goes, in the form of /status.json."""
    return {
        "writable": statistics.fault is None,
        "reason": statistics.fault,
        "flushes": statistics.flushes,
        "failures": statistics.failures,
        "flushed_at": statistics.flushed_at,
    }


def nested(counts: Mapping[tuple[_Outer, _Inner], int]) -> dict[_Outer, dict[_Inner, int]]:
    """Return counts by two words as a document."""
    found: dict[_Outer, dict[_Inner, int]] = {}
    for (outer, inner), count in counts.items():
        found.setdefault(outer, {})[inner] = count
    return found
