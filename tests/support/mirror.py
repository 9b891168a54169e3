"""A mirror: one libtorrent session with thousands of torrents, all told to one tracker."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import libtorrent as lt

from tests.support.closing import Closing
from tests.support.libtorrent_client import local_settings
from tests.support.objects import Torrent
from tests.support.ports import free_port
from tests.support.processes import HarnessError

Told: TypeAlias = Literal["answered", "refused"]
STOP_PATIENCE = 5
"""Seconds that libtorrent gives its last announces by default."""


class Mirror(Closing):
    """Downloads and seeds many torrents at once from one address, with libtorrent's own limits.

    Its threads live in the network of the thread that made it.
    """

    def __init__(self, address: str, downloads: Path) -> None:
        self.announced_at: Counter[int] = Counter()
        """Announces of each second since the session began, sent anew or again."""
        self.told: Counter[Told] = Counter()
        self.refused_at: Counter[int] = Counter()
        """Refused ones by second."""
        self.reasons: Counter[str] = Counter()
        self.finished = 0
        """Torrents that are complete."""
        self._downloads = downloads
        self._began = time.monotonic()
        self._port = free_port(address)
        categories = lt.alert.category_t
        chosen = local_settings(address, self._port) | {
            "stop_tracker_timeout": STOP_PATIENCE,
            "alert_queue_size": 200_000,
            "alert_mask": categories.error_notification
            | categories.status_notification
            | categories.tracker_notification,
        }
        self._session: lt.session | None = lt.session(chosen)

    def add(self, torrents: Sequence[Torrent]) -> None:
        """Begin with all of some torrents."""
        assert self._session is not None
        alone = lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd
        for torrent in torrents:
            parameters = lt.add_torrent_params()
            parameters.ti = lt.torrent_info(torrent.file())
            parameters.save_path = str(self._downloads)
            parameters.flags = (
                lt.torrent_flags.default_flags | alone | lt.torrent_flags.disable_pex
            ) & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
            self._session.async_add_torrent(parameters)

    def pause(self) -> None:
        """Stop every torrent and say so."""
        assert self._session is not None
        self._session.pause()

    def resume(self) -> None:
        """Go on with every torrent."""
        assert self._session is not None
        self._session.resume()

    def close(self) -> None:
        """End the session: libtorrent says `stopped` for all, as far as its patience goes."""
        self._session = None

    def wait_until(self, condition: Callable[[], bool], *, timeout: float, what: str) -> float:
        """Wait and return the seconds that it took; HarnessError if time is up."""
        began = time.monotonic()
        while not condition():
            self.look()
            if time.monotonic() > began + timeout:
                raise HarnessError(
                    f"the mirror: {what} took more than {timeout:g} s; {self.finished} finished,"
                    f" {dict(self.told)}, {self.reasons.most_common(5)}"
                )
        return time.monotonic() - began

    def look(self) -> None:
        """Take note of what libtorrent reports, for a fifth of a second at most."""
        assert self._session is not None
        self._session.wait_for_alert(200)
        for alert in self._session.pop_alerts():
            second = int(time.monotonic() - self._began)
            if isinstance(alert, lt.tracker_announce_alert):
                self.announced_at[second] += 1
            elif isinstance(alert, lt.tracker_reply_alert):
                self.told["answered"] += 1
            elif isinstance(alert, lt.tracker_error_alert):
                self.told["refused"] += 1
                self.refused_at[second] += 1
                self.reasons[alert.failure_reason() or alert.error.message()] += 1
            elif isinstance(alert, lt.torrent_finished_alert):
                self.finished += 1
