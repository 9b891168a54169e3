"""libtorrent, as it is, against our tracker."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import libtorrent as lt
import pytest
import trio

from seeder.net.buckets import AddressLimiter
from seeder.tracker.announce import LEAST_WAIT
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.gateway.support import AnyObjects, make_routes
from tests.http.serving import PATIENCE, serving
from tests.tracker.announcing import HASH, OWN_PORT, SIZE, Ledger


@pytest.fixture
def session() -> Iterator[lt.session]:
    session = lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "stop_tracker_timeout": 1,
            # It scrapes no tracker on loopback otherwise.
            "ssrf_mitigation": False,
            "alert_mask": lt.alert.category_t.all_categories,
        }
    )
    yield session
    session.pause()


AlertT = TypeVar("AlertT", bound=lt.alert)


async def alert_of(session: lt.session, kind: type[AlertT]) -> AlertT:
    """Return the session's next alert of one kind."""
    with trio.fail_after(PATIENCE):
        while True:
            for alert in session.pop_alerts():
                if isinstance(alert, kind):
                    return alert
            await trio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  (a condition of libtorrent's threads)
            await trio.sleep(0.01)


class Tracker:
    def __init__(self, limiter: AddressLimiter | None = None) -> None:
        self.swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
        self.routes = make_routes(self.swarms, AnyObjects(), limiter=limiter)

    def peers(self) -> int:
        return self.swarms.statistics(HASH).peers


def magnet(port: int, directory: Path, info_hash: bytes = HASH) -> lt.add_torrent_params:
    params = lt.parse_magnet_uri(
        f"magnet:?xt=urn:btih:{info_hash.hex()}&tr=http://127.0.0.1:{port}/announce"
    )
    params.save_path = str(directory)
    # It begins with a few at a time otherwise.
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return params


async def test_libtorrent_starts_scrapes_and_stops(session: lt.session, tmp_path: Path) -> None:
    tracker = Tracker()
    tracker.swarms.open(HASH, size=SIZE, claims=Ledger())
    async with serving(tracker.routes) as port:
        handle = session.add_torrent(magnet(port, tmp_path))
        reply = await alert_of(session, lt.tracker_reply_alert)
        assert reply.num_peers == 1
        assert tracker.peers() == 1
        handle.scrape_tracker()
        scrape = await alert_of(session, lt.scrape_reply_alert)
        assert (scrape.complete, scrape.incomplete) == (1, 1)
        session.remove_torrent(handle)
        await until(lambda: tracker.peers() == 0)


async def test_libtorrent_is_told_why_a_torrent_is_gone(
    session: lt.session, tmp_path: Path
) -> None:
    tracker = Tracker()
    reason = "torrent not registered: the object was replaced"
    tracker.swarms.close(HASH, reason)
    async with serving(tracker.routes) as port:
        session.add_torrent(magnet(port, tmp_path))
        failure = await alert_of(session, lt.tracker_error_alert)
        assert failure.failure_reason() == reason


async def test_libtorrent_spreads_the_torrents_that_we_refuse(
    session: lt.session, tmp_path: Path
) -> None:
    """It makes a fixed time of everything below five minutes."""
    tracker, count = Tracker(AddressLimiter(rate=1e-9, burst=1e-9)), 60
    async with serving(tracker.routes) as port:
        handles = [
            session.add_torrent(magnet(port, tmp_path, b"%020d" % number))
            for number in range(count)
        ]

        def waits() -> list[int]:
            """Return the seconds from each refusal to the next try, behind the least."""
            told: list[Any] = [handle.trackers()[0]["endpoints"] for handle in handles]
            first = [each[0]["info_hashes"][0] for each in told if each]
            refused = [each for each in first if each["fails"] == 1]
            return [each["next_announce"] - each["min_announce"] - LEAST_WAIT for each in refused]

        await until(lambda: len(waits()) == count)
        spread = waits()
    assert (min(spread) < 10, max(spread) > 100) == (True, True)
    assert len(set(spread)) >= count - 5
