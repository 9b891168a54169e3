"""What a daemon left on disk: pieces, a build's journal, the ledger."""

import time

from seeder.ledger.reading import Recorded, read_ledger
from seeder.metainfo.journal import HashJournal
from tests.e2e.daemon import SeederDaemon


def pieces_on_disk(daemon: SeederDaemon) -> set[int]:
    """Return the indices of the pieces that lie in the cache's directory."""
    return {
        int(file.name) for file in daemon.directory.glob("cache/*/*/*") if file.name.isdecimal()
    }


def journaled(daemon: SeederDaemon) -> set[int]:
    """Return the pieces whose hashes the build had noted when the daemon was killed."""
    [path] = daemon.directory.glob("state/builds/*.journal")
    [cache] = daemon.directory.glob("cache/*-*")
    return set(HashJournal(path, cache.name).load())


def ledger(daemon: SeederDaemon) -> Recorded:
    """Return what the ledger's file says."""
    return read_ledger(daemon.directory / "state/ledger.sqlite", now=time.time())


def ledgered(daemon: SeederDaemon) -> int:
    """Return the bytes uploaded as the ledger's file says."""
    return ledger(daemon).ledger.totals().uploaded_bytes
