"""A budget of origin bytes runs out: S3 is left alone, what is cached goes out, and it goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seeder.cache.reading import LARGEST_READ
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.state import ledger, pieces_on_disk
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest, make_torrent
from tests.support.processes import poll_until

KEY = "big"
PIECE = MIB
SIZE = 64 * MIB
BUDGET = 30 * MIB

MakeDaemon = Callable[..., SeederDaemon]


def budget_of(daemon: SeederDaemon) -> tuple[int, str]:
    """Return what is spent of the budget, and its level."""
    [limit] = daemon.status()["budget"]
    return limit["spent"], limit["level"]


def wait_for_cached(daemon: SeederDaemon, leecher: Libtorrent) -> None:
    """Wait until a client has what the cache has."""
    poll_until(
        lambda: len(pieces_on_disk(daemon)) * PIECE == budget_of(daemon)[0],
        timeout=10,
        what="an end of reading and writing",
    )
    count = len(pieces_on_disk(daemon))
    poll_until(
        lambda: leecher.status().num_pieces >= count, timeout=60, what=f"{count} cached pieces"
    )
    assert leecher.status().num_pieces == count < SIZE / PIECE


@pytest.mark.timeout(240)
def test_a_spent_budget_leaves_s3_alone_until_it_is_raised(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    body = content(SIZE)
    publisher.put(bucket, KEY, body)
    own = tmp_path / "own.torrent"
    own.write_bytes(make_torrent(body, name=KEY, piece_length=PIECE).file())
    settings = {
        "origin": origin(ceph),
        "objects": [{"bucket": bucket, "key": KEY, "torrent_file": str(own)}],
    }
    limit = f"{BUDGET // MIB} MiB"
    daemon = seeder(settings | {"budget": {"origin_bytes_per_day": limit}})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    torrent = tmp_path / "served.torrent"
    torrent.write_bytes(served_torrent(daemon, bucket, KEY))
    leecher = client(Libtorrent)
    leecher.add(torrent)

    poll_until(lambda: budget_of(daemon)[1] == "cache only", timeout=30, what="end of the budget")
    wait_for_cached(daemon, leecher)
    spent, _ = budget_of(daemon)
    assert spent == daemon.status()["totals"]["origin_bytes"]
    assert BUDGET <= spent < BUDGET + LARGEST_READ
    assert ceph.body_bytes_sent(bucket, KEY) == spent
    assert daemon.torrent_status(bucket, KEY)["state"] == "serving"
    warning = f'spent of budget.origin_bytes_per_day = "{limit}"'
    assert daemon.log.count(warning) >= 1

    poll_until(
        lambda: ledger(daemon).ledger.totals().origin_bytes == spent, timeout=60, what="flush"
    )
    daemon.kill()
    daemon.start()
    assert budget_of(daemon) == (spent, "cache only")
    newcomer = client(Libtorrent)
    newcomer.add(torrent)
    wait_for_cached(daemon, newcomer)
    leecher.reannounce()
    assert ceph.body_bytes_sent(bucket, KEY) == spent

    daemon.configure(settings | {"budget": {"origin_bytes_per_day": "1 GiB"}})
    daemon.reload()
    for each in (newcomer, leecher):
        # After the kill, libtorrent may wait a minute before it dials us again.
        assert digest(each.wait(90)) == digest(body)
    after, level = budget_of(daemon)
    assert (after, level) == (SIZE, "normal")
    assert ceph.body_bytes_sent(bucket, KEY) == SIZE
