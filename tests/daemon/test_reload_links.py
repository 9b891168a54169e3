"""The URLs that are handed out after a reload with another `public_address`."""

import logging
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import httpx
import libtorrent as lt
import pytest

from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.reload import reload
from seeder.net.addresses import HostPort
from tests.daemon.support import LOOPBACK, get, served, serving, until


@dataclass
class HandedOut:
    """What a client is given: hosts of announce URL and web seed, info hash, peers."""

    announce: set[str]
    web_seeds: set[str]
    info_hashes: set[bytes]
    peers: list[tuple[str, int]]


def write(file: Path, config: Config, public: str, more: str = "") -> None:
    """Have the file say where the node is reached, which listens everywhere."""
    port = config.tracker.listen[0].port
    text = file.read_text()
    text = re.sub(r"\n(web_seed|listing|public_address|announce_url) = .*|\n\[gateway\]", "", text)
    tracker = f'[tracker]\nlisten = ["0.0.0.0:{port}"]{more}'
    text = re.sub(r'\["?tracker"?\]\n"?listen"? = .*', tracker, text)
    text = re.sub(r'(\["?peer"?\])', rf"\1\npublic_address = {public}", text)
    file.write_text(text + "\n[gateway]\nweb_seed = true\nlisting = true\n")


async def handed_out(address: HostPort) -> HandedOut:
    """Fetch torrent file, magnet link, list, and feed, which have to agree."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{address}/quotes/Nelson?torrent")
    magnet = lt.parse_magnet_uri((await get(address, "/quotes/Nelson?magnet"))[1].strip())
    [listed] = re.findall(r'"(magnet:[^"]*)"', (await get(address, "/?format=json"))[1])
    feed = (await get(address, "/?format=rss"))[1]
    torrent = lt.load_torrent_buffer(answer.content)
    trackers = {*torrent.trackers, *magnet.trackers, *lt.parse_magnet_uri(listed).trackers}
    seeds = {*torrent.url_seeds, *magnet.url_seeds, *re.findall(r"(http://[^<]*)</link>", feed)}
    hosts = partial(map, lambda url: httpx.URL(unquote(url)).host)
    return HandedOut(
        set(hosts(trackers)),
        set(hosts(seeds)),
        {each.info_hashes.v1.to_bytes() for each in (torrent, magnet)},
        magnet.peers,
    )


async def test_what_is_handed_out_afterwards_names_the_new_address(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    address = HostPort(LOOPBACK, config.tracker.listen[0].port)
    write(file, config, '"192.0.2.1:6881"')
    async with serving(load(file)) as node:
        await until(partial(served, node))
        before = await handed_out(address)
        assert (before.announce, before.web_seeds) == ({"192.0.2.1"}, {"192.0.2.1"})
        write(file, config, '"192.0.2.2:6881"')
        await reload(node, file)
        after = await handed_out(address)
        assert (after.announce, after.web_seeds) == ({"192.0.2.2"}, {"192.0.2.2"})
        assert after.info_hashes == before.info_hashes
        assert (before.peers, after.peers) == ([("192.0.2.1", 6881)], [("192.0.2.2", 6881)])
        assert caplog.text.count("from now on") == 1
        assert f"torrents name http://192.0.2.2:{address.port}/announce from now on" in caplog.text
        # A name is resolved by whoever reads a URL, and by us for the peers of a magnet link.
        write(file, config, '"localhost:6881"')
        await reload(node, file)
        await until(lambda: [peer.host for peer in node.links.peers] != ["localhost"])
        named = await handed_out(address)
        assert (named.announce, named.web_seeds) == ({"localhost"}, {"localhost"})
        assert ("127.0.0.1", 6881) in named.peers


async def test_a_file_that_tells_no_address_changes_nothing(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, config, '"192.0.2.1:6881"')
    async with serving(load(file)) as node:
        url = node.links.announce
        write(file, config, "[]")
        await reload(node, file)
        assert "not reloaded" in caplog.text
        assert "tracker.announce_url: is missing" in caplog.text
        assert [str(each) for each in node.config.peer.public_address] == ["192.0.2.1:6881"]
        caplog.clear()
        # With an URL of its own the file is right, but that takes a restart.
        write(file, config, "[]", '\nannounce_url = "http://t.example.org/announce"')
        await reload(node, file)
        assert "tracker.announce_url changed" in caplog.text
        assert "not reloaded" not in caplog.text
        await until(lambda: not node.swarms.seeder.endpoints)
        assert node.links.announce == url
