"""Whether the addresses that clients are told can be reached, tried from this machine."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import quote, urlsplit

import trio

from seeder.commands.findings import Findings
from seeder.config.sections import Config
from seeder.errors import BencodeError, FetchFailed
from seeder.gateway.certificates import certificate_names
from seeder.gateway.links import announce_url
from seeder.http.client import connect, fetch
from seeder.net.addresses import HostPort
from seeder.torrent import bencode

SECONDS = 10.0
_LARGEST_REPLY = 64 * 1024


async def dial(config: Config, findings: Findings) -> None:
    """Tell a line for the announce URL and for each public address: what answers from here."""
    tracker = config.tracker
    announce = announce_url(config, tracker.main_listen[0].port, certificate_names(tracker))
    dialled: dict[str, Callable[[], Awaitable[None]]] = {
        f"tracker.announce_url: {announce}": partial(_announce, announce)
    }
    for address in config.peer.public_address:
        dialled[f"peer.public_address: {address}"] = partial(_connect, address)
    faults: dict[str, FetchFailed | None] = {}
    async with trio.open_nursery() as nursery:
        for name, ask in dialled.items():
            nursery.start_soon(_try, name, ask, faults)
    for name in dialled:
        if (error := faults[name]) is None:
            findings.note(f"{name}: answers, tried from here; try it from outside, too")
            continue
        findings.warn(
            f"{name}: tried from here, {error}; the seeder has to run, and some networks don't let"
            " a machine reach itself by its outer address: try it from outside, too"
        )


async def _try(
    name: str, ask: Callable[[], Awaitable[None]], faults: dict[str, FetchFailed | None]
) -> None:
    faults[name] = None
    try:
        await ask()
    except FetchFailed as error:
        faults[name] = error


async def _announce(url: str) -> None:
    # A torrent that nobody has: a tracker says so, and lists nobody.
    asked = f"info_hash={quote(secrets.token_bytes(20))}&peer_id={quote(b'-SB0100-check-------')}"
    joint = "&" if urlsplit(url).query else "?"
    target = f"{url}{joint}{asked}&port=1&uploaded=0&downloaded=0&left=0&compact=1&numwant=0"
    answer = await fetch(target, most=_LARGEST_REPLY, seconds=SECONDS)
    try:
        reply = bencode.decode(answer.body, canonical=False)
    except BencodeError:
        reply = None
    if not isinstance(reply, dict):
        raise FetchFailed(f"what answers is no tracker (status {answer.status})")


async def _connect(address: HostPort) -> None:
    with trio.move_on_after(SECONDS):
        stream = await connect(address.host, address.port, lambda _: True)
        await trio.aclose_forcefully(stream)
        return
    raise FetchFailed(f"nothing answers within {SECONDS:.0f} s")
