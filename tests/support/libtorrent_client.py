"""libtorrent sessions inside the test process: cheap leechers, and a seeder to measure against."""

import time
from pathlib import Path

import libtorrent as lt

from tests.support.leecher import Encryption, Leecher
from tests.support.processes import HarnessError, poll_until

# libtorrent declares settings_pack for type checkers only, hence the quotes.
_ENCRYPTION: "dict[Encryption, lt.settings_pack]" = {
    "plain": {
        "in_enc_policy": lt.enc_policy.pe_disabled,
        "out_enc_policy": lt.enc_policy.pe_disabled,
    },
    "any": {},
    "rc4": {
        "in_enc_policy": lt.enc_policy.pe_forced,
        "out_enc_policy": lt.enc_policy.pe_forced,
        "allowed_enc_level": lt.enc_level.pe_rc4,
    },
}


class Libtorrent(Leecher):
    """One libtorrent session with one torrent; TCP only, nothing but the tracker and `connect`.

    Rates are in bytes a second, 0 for no limit. The session's threads live in the network of the
    thread that made it.
    """

    def __init__(
        self,
        address: str,
        directory: Path,
        *,
        encryption: Encryption = "plain",
        download_rate: int = 0,
        upload_rate: int = 0,
        settings: "lt.settings_pack | None" = None,
    ) -> None:
        super().__init__(address, directory, encryption=encryption)
        self.messages: list[str] = []
        """What libtorrent reported: trackers, errors, states."""
        self._finished = False
        self._flushed = False
        self._handle: lt.torrent_handle | None = None
        chosen = local_settings(address, self.port) | _ENCRYPTION[encryption]
        chosen["download_rate_limit"] = download_rate
        chosen["upload_rate_limit"] = upload_rate
        self._session: lt.session | None = lt.session(chosen | (settings or {}))
        # Peers on local networks are in a class without limits; put them into the global one.
        everybody = lt.ip_filter()
        everybody.add_rule("0.0.0.0", "255.255.255.255", 1)
        self._session.set_peer_class_filter(everybody)

    def add(self, source: Path | str) -> None:
        self._add(source, self.downloads, lt.torrent_flags.default_flags)

    def seed(self, torrent_file: Path, content: Path, *, super_seeding: bool = False) -> None:
        """Seed the file `content`, which has the torrent's name, without checking it first.

        When this returns, peers are taken: before, they are hung up on.
        """
        flags = lt.torrent_flags.seed_mode
        if super_seeding:
            flags |= lt.torrent_flags.super_seeding
        self._add(torrent_file, content.parent, flags)
        seeding = lt.torrent_status.states.seeding
        poll_until(lambda: self.status().state == seeding, timeout=30, what="begin of seeding")

    def connect(self, peer: tuple[str, int]) -> None:
        """Dial a peer that no tracker has told of."""
        self._torrent.connect_peer(peer)

    def limit_download(self, rate: int) -> None:
        """Change the download rate, in bytes a second."""
        assert self._session is not None
        self._session.apply_settings({"download_rate_limit": rate})

    def reannounce(self) -> None:
        """Announce to the tracker now, whatever interval it set."""
        self._torrent.force_reannounce(0, -1, lt.torrent_handle.ignore_min_interval)

    def wait(self, timeout: float) -> Path:
        deadline = time.monotonic() + timeout
        while not self._flushed:
            self._read_alerts(until=deadline)
            if time.monotonic() > deadline:
                raise HarnessError(f"libtorrent: {self._progress()} in {timeout:g} s")
        return self.downloaded_file()

    def status(self) -> lt.torrent_status:
        """Return libtorrent's own figures: progress, payload of both ways, peers, seeds."""
        return self._torrent.status()

    def peers(self) -> list[lt.peer_info]:
        """Return the connected peers; `flags & rc4_encrypted` tells of encryption."""
        return self._torrent.get_peer_info()

    def leave(self) -> None:
        """Say `stopped` to the tracker, then close; takes a second."""
        self._handle = None
        self._session = None

    def close(self) -> None:
        if self._session is not None:
            self._session.apply_settings({"stop_tracker_timeout": 0})
        self.leave()

    @property
    def _torrent(self) -> lt.torrent_handle:
        if self._handle is None:
            raise HarnessError("this libtorrent has no torrent, or is closed")
        return self._handle

    def _add(self, source: Path | str, where: Path, flags: int) -> None:
        assert self._session is not None
        if isinstance(source, Path):
            parameters = lt.add_torrent_params()
            parameters.ti = lt.torrent_info(source.read_bytes())
        else:
            parameters = lt.parse_magnet_uri(source)
        parameters.save_path = str(where)
        alone = lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd
        parameters.flags = (flags | alone | lt.torrent_flags.disable_pex) & ~(
            lt.torrent_flags.auto_managed | lt.torrent_flags.paused
        )
        self._handle = self._session.add_torrent(parameters)

    def _read_alerts(self, *, until: float) -> None:
        assert self._session is not None
        self._session.wait_for_alert(max(0, min(200, int((until - time.monotonic()) * 1000))))
        for alert in self._session.pop_alerts():
            self.messages.append(f"{alert.what()}: {alert.message()}")
            if isinstance(alert, lt.torrent_finished_alert) and not self._finished:
                self._finished = True
                # The last blocks may still be on their way to the file.
                self._torrent.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert) and self._finished:
                self._flushed = True

    def _progress(self) -> str:
        status = self.status()
        last = "\n".join(self.messages[-20:])
        return f"{status.progress:.1%} with {status.num_peers} peers\n{last}\n"


def local_settings(address: str, port: int) -> "lt.settings_pack":
    """Return the settings of a session that finds peers by the tracker and `connect` alone."""
    categories = lt.alert.category_t
    return {
        "listen_interfaces": f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
        "outgoing_interfaces": address,
        "allow_multiple_connections_per_ip": True,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        # It dials uTP first, and a seeder that speaks TCP only would wait seconds for it.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "listen_queue_size": 512,
        "aio_threads": 2,
        "stop_tracker_timeout": 1,
        "alert_mask": categories.error_notification
        | categories.status_notification
        | categories.storage_notification
        | categories.tracker_notification,
    }
