"""Who is let in by network: at the tracker, as a peer, at the gateway, and after a reload."""

import re
from pathlib import Path

import httpx
import pytest
import trio
from bencode2 import bdecode

from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from tests.daemon.support import BODY, LOOPBACK, served, serving, until
from tests.support.raw_peer import handshake

STRANGER = "127.0.0.9"
"""This machine, too, by another address."""


def write(file: Path, **lists: str) -> Config:
    """Write lines at the beginning of sections; return the configuration."""
    text = re.sub(r"^(allow|deny) = .*\n", "", file.read_text(), flags=re.M)
    for section, lines in lists.items():
        heading = rf'^(\["?{section}"?\]\n)'
        if re.search(heading, text, flags=re.M) is None:
            text += f"\n[{section}]\n"
        text = re.sub(heading, lambda found: f"{found[1]}{lines}\n", text, flags=re.M)  # noqa: B023
    file.write_text(text)
    return load(file)


async def ask(
    config: Config, target: str, *, by: str = LOOPBACK, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Ask the public listener from one of this machine's addresses."""
    transport = httpx.AsyncHTTPTransport(local_address=by)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        return await client.get(f"http://{config.tracker.listen[0]}{target}", headers=headers)


def announce_of(node: Node, port: int = 7) -> str:
    found = node.catalog.by_name("quotes", "Nelson")
    assert found is not None
    assert found.torrent is not None
    info_hash = "".join(f"%{byte:02x}" for byte in found.torrent.info_hash)
    return (
        f"/announce?info_hash={info_hash}&peer_id={'x' * 20}&port={port}"
        "&uploaded=0&downloaded=0&left=1&compact=1"
    )


REFUSED = {
    b"failure reason": b"your address is not allowed at this tracker",
    b"retry in": b"never",
}


async def test_the_tracker_tells_who_is_not_let_in_never_to_come_back(file: Path) -> None:
    config = write(file, tracker=f'deny = ["{STRANGER}"]', gateway="web_seed = true")
    async with serving(config) as node:
        await until(lambda: served(node))
        target = announce_of(node)
        for page in (target, "/scrape", "/announce/KEY"):
            assert bdecode((await ask(config, page, by=STRANGER)).content) == REFUSED
        assert b"interval" in bdecode((await ask(config, target)).content)
        # The gateway has lists of its own.
        assert (await ask(config, "/quotes/Nelson?torrent", by=STRANGER)).status_code == 200
        assert node.swarms.tallies.announces["unread", "denied"] == 2
        assert 'seeder_turned_away_total{section="tracker"} 3' in (
            (await node.overview.metrics()).decode()
        )


async def test_behind_a_proxy_the_client_counts(file: Path) -> None:
    proxy = f'trusted_proxies = ["{STRANGER}"]\nallow = ["192.0.2.0/24", "2001:db8::/32"]'
    config = write(file, tracker=proxy, peer='public_address = "127.0.0.1:6881"')
    async with serving(config) as node:
        await until(lambda: served(node))
        for client, let_in in (
            ("192.0.2.7", True),
            ("::ffff:192.0.2.7", True),
            ("2001:db8::7", True),
            ("192.0.3.7", False),
            ("2001:db9::7", False),
        ):
            headers = {"X-Forwarded-For": client}
            answer = await ask(config, announce_of(node), by=STRANGER, headers=headers)
            assert (bdecode(answer.content) != REFUSED) is let_in, client
        # Who isn't a proxy can't say that he is somebody else.
        headers = {"X-Forwarded-For": "192.0.2.7"}
        assert bdecode((await ask(config, announce_of(node), headers=headers)).content) == REFUSED


async def test_the_gateway_answers_403_with_a_line(file: Path) -> None:
    lists = f'web_seed = true\nlisting = true\ndeny = ["{STRANGER}"]'
    config = write(file, gateway=lists)
    async with serving(config) as node:
        await until(lambda: served(node))
        for target in (
            *("/quotes/Nelson", "/quotes/Nelson?torrent", "/quotes/Nelson?magnet", "/quotes"),
            *("/quotes?list-type=2", "/", "/?format=rss"),
        ):
            answer = await ask(config, target, by=STRANGER)
            assert answer.status_code == 403, target
            assert "Your address is not allowed here." in answer.text
            assert (await ask(config, target)).status_code == 200, target
        assert b"interval" in bdecode((await ask(config, announce_of(node), by=STRANGER)).content)


async def test_a_gateway_without_a_list_page_turns_away_too(file: Path) -> None:
    config = write(file, gateway='allow = ["192.0.2.0/24"]')
    async with serving(config):
        assert (await ask(config, "/")).status_code == 403


async def test_a_peer_is_closed_before_the_handshake(file: Path) -> None:
    config = write(file, peer=f'deny = ["{STRANGER}/32"]')
    async with serving(config) as node:
        await until(lambda: served(node))
        stream = await trio.open_tcp_stream(*config.peer.listen[0], local_address=STRANGER)
        async with stream:
            with trio.fail_after(10):
                assert await stream.receive_some() == b""
        statistics = node.hub.statistics()
        assert statistics.closes == statistics.refusals == {"address-denied": 1}
        assert node.clients.doors.peer.turned_away == 1


async def test_a_reload_lets_those_go_that_are_denied_now(file: Path) -> None:
    config = write(file, gateway="web_seed = true", peer='upload_rate = "64 KiB/s"')
    async with serving(config) as node:
        await until(lambda: served(node))
        found = node.catalog.by_name("quotes", "Nelson")
        assert found is not None
        assert found.torrent is not None
        for by in (LOOPBACK, STRANGER):
            await ask(config, announce_of(node), by=by)
        peers = [
            await trio.open_tcp_stream(*config.peer.listen[0], local_address=by)
            for by in (LOOPBACK, STRANGER)
        ]
        for peer in peers:
            await peer.send_all(handshake(found.torrent.info_hash))
            with trio.fail_after(10):
                assert await peer.receive_some()
        download = await trio.open_tcp_stream(*config.tracker.listen[0], local_address=STRANGER)
        await download.send_all(b"GET /quotes/Nelson HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(10):
            assert (await download.receive_some()).startswith(b"HTTP/1.1 200")
        assert node.swarms.statistics(found.torrent.info_hash).peers == 2
        deny = f'deny = ["{STRANGER}"]'
        write(file, tracker=deny, peer=deny, gateway=deny)
        await reload(node, file)
        assert node.overview.reloads.document()["outcome"] == "ok"
        assert node.swarms.statistics(found.torrent.info_hash).peers == 1
        with trio.fail_after(10):
            received = 0
            for stream in (peers[1], download):
                try:
                    while data := await stream.receive_some():
                        received += len(data)
                except trio.BrokenResourceError:
                    pass
        assert received < len(BODY)
        assert node.hub.statistics().closes == {"address-denied": 1}
        assert node.hub.statistics().connected == 1
        # And lets them in again.
        write(file)
        await reload(node, file)
        assert b"interval" in bdecode((await ask(config, announce_of(node), by=STRANGER)).content)
        for stream in (*peers, download):
            await stream.aclose()


async def test_peers_that_are_denied_are_not_taken_over_from_the_last_run(file: Path) -> None:
    config = write(file)
    async with serving(config) as node:
        await until(lambda: served(node))
        for by in (LOOPBACK, STRANGER):
            await ask(config, announce_of(node), by=by)
    config = write(file, tracker=f'deny = ["{STRANGER}"]')
    async with serving(config) as node:
        await until(lambda: served(node))
        found = node.catalog.by_name("quotes", "Nelson")
        assert found is not None
        assert found.torrent is not None
        assert node.swarms.statistics(found.torrent.info_hash).peers == 1


@pytest.mark.parametrize("section", ["tracker", "peer", "gateway"])
async def test_lists_are_empty_unless_written(file: Path, section: str) -> None:
    rules = getattr(load(file), section).rules
    assert (rules.allow, rules.deny) == ((), ())
