"""A ledger, reports of it, and its file: what it holds, locked, read by somebody else."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.delivery import Delivery
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.reading import read_ledger
from seeder.ledger.report import Report, TorrentRow
from seeder.ledger.savings import Prices
from seeder.ledger.schema import APPLICATION_ID, MIGRATIONS
from seeder.units import DAY, HOUR, MIB

PRICES = Prices(price_per_gb=0.09, price_per_1000_requests=0.0004)
AT = 1_795_400_000.0  # 2026-11-23 02:13:20 UTC

NOON = 20_000 * DAY + 12 * HOUR
NOBODY = 65534  # the user id of Debian's nobody

NELSON = AccountKey("default", "quotes", "Nelson", '"etag-1"')
DEBIAN = AccountKey("default", "images", "debian.iso", "version-1")


def a_swarm() -> tuple[Ledger, list[TorrentRow]]:
    """A torrent that pays, one that is being built, and a HEAD that failed."""
    ledger = Ledger()
    nelson = ledger.account(NELSON)
    nelson.info_hash, nelson.size, nelson.pieces = "ab" * 20, 64 * MIB, 64
    nelson.state, nelson.peers, nelson.seeds = "serving", 5, 1
    nelson.add(
        Counters(
            origin_bytes_metainfo=4000,
            origin_bytes_pieces=64 * MIB,
            origin_requests_metainfo=2,
            origin_requests_pieces=1064,
            uploaded_bytes=160 * MIB,
            delivered_verified_bytes=640 * MIB,
            delivered_claimed_bytes=650 * MIB,
            completed=9,
            peers_seen=12,
            protocol_bytes=3 * MIB,
        )
    )
    debian = ledger.account(DEBIAN)
    debian.size, debian.state = 700 * MIB, "building"
    debian.origin_received("hashing", 280 * MIB)
    ledger.unattributed.origin_request("metainfo")
    rows = [
        TorrentRow.of(nelson, metainfo="checksums"),
        TorrentRow.of(debian, reason="reading the object for its hashes", progress=0.4),
    ]
    return ledger, rows


def a_report() -> Report:
    ledger, rows = a_swarm()
    return Report.of(ledger, PRICES, at=AT, rows=rows)


def a_budget(limits: list[Limit], spent: Counters) -> Budget:
    return Budget(limits, PRICES, totals=spent, spent=Spent(spent, spent), now=AT)


def a_limited_report() -> Report:
    """Return the report of the swarm, with three limits on what it spends."""
    ledger, rows = a_swarm()
    limits = [
        Limit(Resource.ORIGIN_BYTES, Period.DAY, 400 * MIB),
        Limit(Resource.ORIGIN_REQUESTS, Period.MONTH, 1_000_000),
        Limit(Resource.UPLOADED_MONEY, Period.DAY, 0.01),
    ]
    budget = a_budget(limits, ledger.totals())
    return Report.of(ledger, PRICES, at=AT, rows=rows, budget=budget.left())


def counted(path: Path) -> Counters:
    """Return what the file holds in all."""
    return read_ledger(path, now=NOON).ledger.totals()


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock that another program would hold while it writes."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user with no rights, as root can."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def claims(delivery: Delivery, pieces: bytes | bool) -> int:
    """Have a peer say that it has more pieces; return the bytes that it claims by that."""
    whole, others = delivery.grown_to(pieces)
    return delivery.total(whole) + sum(others.values())


def make_older(path: Path, version: int, uploaded: dict[int, int]) -> None:
    """Write a file of an older format, last flushed at NOON: bytes uploaded by their hours.

    From format 3 on, it was written in format 2 and brought up.
    """
    connection = sqlite3.connect(path)
    for statement in chain(*MIGRATIONS[: min(version, 2)]):
        connection.execute(statement)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(hours)")]
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    names = (NELSON.origin, NELSON.bucket, NELSON.key, NELSON.version)
    connection.execute(
        "INSERT INTO accounts (id, origin, bucket, key, version, state, peers, seeds)"
        " VALUES (1, ?, ?, ?, ?, 'serving', 0, 0)",
        names,
    )
    for hour, count in uploaded.items():
        row = [1, hour, *(count if name == "uploaded_bytes" else 0 for name in columns[2:])]
        connection.execute(f"INSERT INTO hours VALUES (?{', ?' * (len(row) - 1)})", row)
    connection.execute("INSERT INTO flushes VALUES (1, ?)", (float(NOON),))
    for statement in chain(*MIGRATIONS[2:version]):
        connection.execute(statement)
    connection.commit()
    connection.close()
