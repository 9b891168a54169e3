"""`seeder demo`: the whole bridge on this machine, with an S3 server and four real clients.

moto's S3 server holds one made object, the daemon publishes it, and four libtorrent clients on
127.0.0.x download it by its torrent. Everything lives in one temporary directory and on free
ports, and is gone afterwards, also after Ctrl-C.
"""

import hashlib
import importlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.session
import trio
from botocore.config import Config as BotocoreConfig
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from seeder.config.sections import (
    AdminSettings,
    CacheSettings,
    Config,
    ObjectSettings,
    OriginSettings,
    PeerSettings,
    TrackerSettings,
)
from seeder.daemon import run as daemon
from seeder.daemon.node import Node
from seeder.errors import SeederError
from seeder.ledger.table import render
from seeder.net.addresses import HostPort
from seeder.units import GIB, rounded_size

BUCKET, KEY = "quotes", "Nelson.bin"
LARGEST = 4 * GIB
"""Bytes of the object, which the S3 server holds in memory."""
LEECHERS = 4
FRAME = 0.2
"""Seconds between two looks at the clients."""
SETTLE = 1.0
"""Seconds in which the clients announce their last pieces."""
TIME_LIMIT = 300.0
"""Seconds for the whole demo."""
LIBTORRENT = "libtorrent, which has packages for Python 3.11 to 3.13: use one of those"
_REGION = "us-east-1"


class DemoError(SeederError):
    """The demo can't run, or didn't end well."""


@dataclass(slots=True)
class Leecher:
    """One libtorrent client and where it saves."""

    address: str
    session: Any
    handle: Any
    directory: Path

    @property
    def done(self) -> bool:
        return bool(self.handle.status().is_seeding)


def _import(name: str, why: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DemoError(f"the demo needs {why}") from error


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server on a free port; yield its endpoint."""
    moto = _import("moto.server", "moto: pip install 'seeder[demo]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _put_object(endpoint: str, body: bytes) -> None:
    client: Any = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=_REGION,
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        config=BotocoreConfig(s3={"addressing_style": "path"}, proxies={}),
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key=KEY, Body=body, ACL="public-read")
    client.close()


def _configuration(directory: Path, endpoint: str) -> Config:
    anywhere = (HostPort("127.0.0.1", 0),)
    return Config(
        state_directory=directory / "state",
        origins={
            "default": OriginSettings(
                endpoint=endpoint, region=_REGION, path_style=True, anonymous=True
            )
        },
        # moto has no torrents: it answers ?torrent with the object itself.
        objects=(ObjectSettings(bucket=BUCKET, key=KEY, metainfo=("build",)),),
        tracker=TrackerSettings(listen=anywhere),
        peer=PeerSettings(listen=anywhere),
        cache=CacheSettings(directory=directory / "cache"),
        admin=AdminSettings(listen=anywhere),
    )


def _start_leecher(libtorrent: ModuleType, torrent: bytes, number: int, home: Path) -> Leecher:
    address = f"127.0.0.{number + 2}"
    session = libtorrent.session(
        {
            "listen_interfaces": f"{address}:0",
            "outgoing_interfaces": address,
            "allow_multiple_connections_per_ip": True,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "alert_mask": 0,
        }
    )
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(libtorrent.bdecode(torrent))
    directory = home / f"leecher-{number + 1}"
    directory.mkdir()
    parameters.save_path = str(directory)
    return Leecher(address, session, session.add_torrent(parameters), directory)


def _frame(node: Node, leechers: list[Leecher]) -> Group:
    table = Table(title=f"{BUCKET}/{KEY}", title_justify="left")
    for heading, justify in (
        ("client", "left"),
        ("done", "right"),
        ("from us and others", "right"),
    ):
        table.add_column(heading, justify="left" if justify == "left" else "right")
    for leecher in leechers:
        status = leecher.handle.status()
        got = rounded_size(status.total_payload_download)
        table.add_row(f"libtorrent {leecher.address}", f"{status.progress:4.0%}", got)
    counters = node.foundation.ledger.totals()
    table.add_section()
    table.add_row("read from S3", "", rounded_size(counters.origin_bytes))
    table.add_row("uploaded by the seeder", "", rounded_size(counters.uploaded_bytes))
    table.add_row("delivered, verified", "", rounded_size(counters.delivered_verified_bytes))
    return Group(table)


async def _wait_served(node: Node) -> bytes:
    while True:
        publication = node.catalog.by_name(BUCKET, KEY)
        if publication is not None and publication.torrent is not None:
            return node.links.torrent_file(publication.torrent, public=True)
        await trio.sleep(FRAME)


async def _download(node: Node, home: Path, console: Console) -> list[Leecher]:
    libtorrent = _import("libtorrent", LIBTORRENT)
    torrent = await _wait_served(node)
    leechers = [_start_leecher(libtorrent, torrent, n, home) for n in range(LEECHERS)]
    try:
        with Live(_frame(node, leechers), console=console, refresh_per_second=8) as live:
            while not all(leecher.done for leecher in leechers):
                await trio.sleep(FRAME)
                live.update(_frame(node, leechers))
            # Clients announce their last pieces a moment after the blocks came.
            await trio.sleep(SETTLE)
            live.update(_frame(node, leechers))
    finally:
        for leecher in leechers:
            leecher.session.pause()
    console.print()
    return leechers


async def run(size: int, console: Console) -> None:
    """Run the demo with an object of `size` bytes; DemoError when it doesn't end well.

    An interrupt cancels the demo, and is raised after the cleanup: raised at once, it would hit
    whatever part of the daemon is at work, in the middle of a step.
    """
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await _run(size, console)
            nursery.cancel_scope.cancel()
            return
    raise KeyboardInterrupt


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _run(size: int, console: Console) -> None:
    _import("libtorrent", LIBTORRENT)
    body = await trio.to_thread.run_sync(os.urandom, size)
    with tempfile.TemporaryDirectory(prefix="seeder-demo-") as name, s3_server() as endpoint:
        home = Path(name)
        await trio.to_thread.run_sync(_put_object, endpoint, body)
        console.print(f"S3 server on {endpoint} holds {BUCKET}/{KEY}, {rounded_size(size)}")
        started = time.monotonic()
        with trio.move_on_after(TIME_LIMIT) as limit:
            async with trio.open_nursery() as nursery:
                node = await nursery.start(daemon.serve, _configuration(home, endpoint))
                console.print(f"tracker: {node.links.announce}")
                console.print(f"status:  http://{node.admin_address}/")
                leechers = await _download(node, home, console)
                report = await node.overview.report()
                nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            raise DemoError(f"the demo did not end within {TIME_LIMIT:.0f} s")
        digest = hashlib.sha256(body).digest()
        for leecher in leechers:
            got = hashlib.sha256((leecher.directory / KEY).read_bytes()).digest()
            if got != digest:
                raise DemoError(f"the client at {leecher.address} got other bytes")
        seconds = time.monotonic() - started
        console.print(f"{LEECHERS} clients have the object, each checked, in {seconds:.1f} s.\n")
        render(report, console)
