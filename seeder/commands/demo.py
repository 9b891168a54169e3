"""`seeder demo`: the whole bridge on this machine, with an S3 server and four real clients.

moto's S3 server holds one made object, the daemon publishes it, and four libtorrent clients on
127.0.0.x download it by its torrent. The seeder uploads slowly enough for people to watch.
Everything lives in one temporary directory and on free ports, and is gone afterwards, also after
Ctrl-C, SIGTERM or a terminal that closes.
"""

import hashlib
import importlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.session
import trio
from botocore.config import Config as BotocoreConfig
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from seeder.commands.report_table import render
from seeder.config.node import AdminSettings, CacheSettings
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.config.public import PeerSettings, TrackerSettings
from seeder.config.sections import Config
from seeder.daemon import run as daemon
from seeder.daemon.node import Node
from seeder.errors import SeederError
from seeder.net.addresses import HostPort
from seeder.units import GIB, KIB, rounded_size

BUCKET, KEY = "quotes", "Nelson.bin"
LARGEST = 4 * GIB
"""Bytes of the object, which the S3 server holds in memory."""
LEECHERS = 4
FRAME = 0.2
"""Seconds between two looks at the clients."""
SETTLE = 1.0
"""Seconds in which the clients announce their last pieces."""
TIME_LIMIT = 300.0
"""Seconds until the clients have the object."""
WATCHED = 10.0
"""Seconds in which the seeder uploads one copy, for people to see how it spreads."""
SLOWEST = 64 * KIB
"""Bytes a second that the seeder uploads at least: a small object is watched for a shorter time."""
EXTRA = "pip install '.[demo]'"
_REGION = "us-east-1"
_BAR = 20
"""Characters of a client's progress bar."""


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


@dataclass(slots=True)
class Show:
    """What the demo was asked to do, and whether it has done it."""

    size: int
    console: Console
    fast: bool = False
    """Whether the seeder uploads as fast as it can."""
    keep: bool = False
    """Whether it goes on running until it is interrupted."""
    done: bool = False
    leechers: list[Leecher] = field(default_factory=list)

    @property
    def upload_rate(self) -> float | None:
        """Bytes a second; None is unlimited."""
        return None if self.fast else max(SLOWEST, self.size / WATCHED)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        hint = ", with Python 3.11 to 3.13" if library == "libtorrent" else ""
        raise DemoError(f"the demo needs {library}: {EXTRA}{hint} ({error})") from error


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server on a free port; yield its endpoint."""
    moto = _import("moto.server")
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


def _configuration(directory: Path, endpoint: str, upload_rate: float | None) -> Config:
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
        peer=PeerSettings(listen=anywhere, upload_rate=upload_rate),
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
    table = Table(title=f"{BUCKET}/{KEY}, to {LEECHERS} libtorrent clients", title_justify="left")
    table.add_column("client", min_width=22)
    table.add_column("", width=_BAR)
    for heading in ("done", "received", "passed on"):
        table.add_column(heading, justify="right")
    for leecher in leechers:
        status = leecher.handle.status()
        table.add_row(
            leecher.address,
            ProgressBar(total=1.0, completed=status.progress, width=_BAR),
            f"{status.progress:4.0%}",
            rounded_size(status.total_payload_download),
            rounded_size(status.total_payload_upload),
        )
    counters = node.foundation.ledger.totals()
    table.add_section()
    for what, count in (
        ("read from S3", counters.origin_bytes),
        ("uploaded by the seeder", counters.uploaded_bytes),
        ("delivered, verified", counters.delivered_verified_bytes),
    ):
        table.add_row(what, "", "", rounded_size(count))
    return Group(table)


async def _wait_served(node: Node) -> bytes:
    while True:
        publication = node.catalog.by_name(BUCKET, KEY)
        if publication is not None and publication.torrent is not None:
            return node.links.torrent_file(publication.torrent, public=True)
        await trio.sleep(FRAME)


async def _download(node: Node, home: Path, show: Show) -> None:
    libtorrent = _import("libtorrent")
    torrent = await _wait_served(node)
    leechers = show.leechers
    leechers += [_start_leecher(libtorrent, torrent, n, home) for n in range(LEECHERS)]
    if not show.console.is_terminal:
        show.console.print(f"{LEECHERS} clients download it; a table follows when all have it")
    with Live(_frame(node, leechers), console=show.console, refresh_per_second=8) as live:
        while not all(leecher.done for leecher in leechers):
            await trio.sleep(FRAME)
            live.update(_frame(node, leechers))
        # Clients announce their last pieces a moment after the blocks came.
        await trio.sleep(SETTLE)
        live.update(_frame(node, leechers))
    show.console.print()


def _check(leechers: list[Leecher], body: bytes) -> None:
    digest = hashlib.sha256(body).digest()
    for leecher in leechers:
        got = hashlib.sha256((leecher.directory / KEY).read_bytes()).digest()
        if got != digest:
            raise DemoError(f"the client at {leecher.address} got other bytes")


def verdict(copies: int, size: int, origin_bytes: int) -> str:
    """Say in one sentence what `copies` downloads of `size` bytes each have saved."""
    paid = f"{origin_bytes / size:.2f}".rstrip("0").rstrip(".")
    saved = f"{100 * (1 - origin_bytes / (copies * size)):.1f}".removesuffix(".0")
    return f"{copies} copies delivered, {paid} paid for: {saved} % saved."


async def run(show: Show) -> None:
    """Run the demo; DemoError when it doesn't end well.

    A signal cancels the demo, and is raised after the cleanup: raised at once, it would hit
    whatever part of the daemon is at work, in the middle of a step. It is the ordinary end of what
    was to be kept running.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await _run(show)
            nursery.cancel_scope.cancel()
    if not show.done:
        raise KeyboardInterrupt


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _run(show: Show) -> None:
    _import("libtorrent")
    console = show.console
    body = await trio.to_thread.run_sync(os.urandom, show.size)
    with tempfile.TemporaryDirectory(prefix="seeder-demo-") as name, s3_server() as endpoint:
        home = Path(name)
        await trio.to_thread.run_sync(_put_object, endpoint, body)
        console.print(f"S3 server on {endpoint} holds {BUCKET}/{KEY}, {rounded_size(show.size)}")
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(_pause, show.leechers)
            started = time.monotonic()
            with trio.move_on_after(TIME_LIMIT) as limit:
                config = _configuration(home, endpoint, show.upload_rate)
                node = await nursery.start(daemon.serve, config)
                console.print(f"tracker: {node.links.announce}")
                console.print(f"status:  http://{node.admin_address}/")
                await _download(node, home, show)
            if limit.cancelled_caught:
                raise DemoError(f"the demo did not end within {TIME_LIMIT:.0f} s")
            await trio.to_thread.run_sync(_check, show.leechers, body)
            seconds = time.monotonic() - started
            console.print(
                f"{LEECHERS} clients have the object, each checked, in {seconds:.1f} s.\n"
            )
            report = await node.overview.report()
            render(report, console)
            paid = node.foundation.ledger.totals().origin_bytes
            console.print(f"\n{verdict(LEECHERS, show.size, paid)}")
            show.done = True
            if show.keep:
                console.print(f"It goes on until Ctrl-C: http://{node.admin_address}/")
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()


def _pause(leechers: list[Leecher]) -> None:
    for leecher in leechers:
        leecher.session.pause()
