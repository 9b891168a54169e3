"""The document behind the status page, of a node in this process."""

import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import trio

from seeder.admin.opened import PARTS
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.publish.rounds import REFUSED_RETRY
from tests.daemon.support import get, served, serving, until
from tests.support.raw_peer import handshake, message

NELSON = ["default", "quotes", "Nelson", None]


class Page:
    """What a status page has of the document, from a stream behind its request."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(wbits=31)
        self._raw = b""
        self._now: dict[str, Any] = {}

    async def begin(self) -> None:
        """Read the head."""
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += await self._stream.receive_some()
        head, _, rest = raw.partition(b"\r\n\r\n")
        assert b"Content-Type: text/event-stream" in head
        self._raw = self._inflate.decompress(rest)

    async def next(self) -> dict[str, Any]:
        """Take the next event in and return the document."""
        with trio.fail_after(60):
            while b"\n\n" not in self._raw:
                data = await self._stream.receive_some()
                assert data, "the stream has ended"
                self._raw += self._inflate.decompress(data)
        event, _, self._raw = self._raw.partition(b"\n\n")
        if "whole" in (said := json.loads(event.removeprefix(b"data: "))):
            self._now = said["whole"]
        else:
            _patch(self._now, said["delta"])
        return self._now


def _patch(node: Any, delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        place = int(key) if isinstance(node, list) else key
        if isinstance(value, list):
            [node[place]] = value
        else:
            _patch(node[place], value)


@asynccontextmanager
async def page(node: Node, **view: str) -> AsyncIterator[Page]:
    assert node.admin_address is not None
    async with await trio.open_tcp_stream(*node.admin_address) as stream:
        head = f"GET /events?{urlencode(view)} HTTP/1.1\r\nHost: localhost\r\n"
        await stream.send_all(f"{head}Accept-Encoding: gzip\r\n\r\n".encode())
        shown = Page(stream)
        await shown.begin()
        yield shown


async def test_the_page_shows_what_the_status_says(config: Config) -> None:
    async with serving(config) as node, page(node, opened=json.dumps(NELSON)) as shown:
        await until(lambda: served(node))
        while (now := await shown.next())["states"]["serving"] == 0:
            pass
        assert node.admin_address is not None
        status = json.loads((await get(node.admin_address, "/status.json"))[1])
        totals = {name: status["totals"][name] for name in now["totals"]}
        assert now["totals"] == pytest.approx(totals)
        # Everything was counted today.
        lately = {name: status["totals"][name] for name in now["lately"]}
        assert (now["span"], now["lately"]) == ("day", pytest.approx(lately))
        assert now["listeners"] == {
            "tracker": [str(node.config.tracker.listen[0])],
            "peer": [str(node.config.peer.listen[0])],
            "admin": [str(node.admin_address)],
        }
        for document in (now, status):
            del document["origins"]["default"]["last_success"]
        for name in ("cache", "origins", "budget", "prefixes", "version"):
            assert now[name] == status[name], name
        [row], [told] = now["objects"]["rows"], status["torrents"]
        assert row["object"] == NELSON
        for name in row.keys() & told.keys():
            assert row[name] == told[name], name
        opened, torrent = now["opened"], now["opened"]["torrent"]
        assert opened["version"] == told["version"]
        assert opened["origin_bytes"] == told["origin_bytes_by_purpose"]
        assert torrent["info_hash"] == told["info_hash"]
        assert torrent["magnet"].startswith(f"magnet:?xt=urn:btih:{told['info_hash']}")
        assert torrent["pieces"] == told["pieces"]
        assert (torrent["cached"], torrent["copies"]) == ([1.0] * PARTS, [0.0] * PARTS)
        assert now["notices"] == []


async def test_a_peer_is_shown_while_it_is_here_and_afterwards_why_it_left(
    config: Config,
) -> None:
    async with serving(config) as node, page(node, opened=json.dumps(NELSON)) as shown:
        await until(lambda: served(node))
        [torrent] = [publication.torrent for publication in node.catalog]
        assert torrent is not None
        count = torrent.layout.piece_count
        has = bytes([0b1010_0000]) + bytes((count + 7) // 8 - 1)
        [listening] = config.peer.listen
        stream = await trio.open_tcp_stream(listening.host, listening.port)
        async with stream:
            await stream.send_all(
                handshake(torrent.info_hash, peer_id=b"-qB5210-0123456789ab")
                + message(5, has)
                + message(2)
            )
            while not (now := await shown.next())["peers"]["rows"]:
                pass
            while (now := await shown.next())["opened"]["torrent"]["counted_peers"] == 0:
                pass
            [peer] = now["peers"]["rows"]
            host, port = stream.socket.getsockname()
            assert (peer["address"], peer["port"]) == (host, port)
            assert peer["client"] == "qB5210"
            assert peer["object"] == NELSON
            assert peer["share"] == pytest.approx(2 / count, abs=1e-3)
            assert (peer["encrypted"], peer["interested"]) == (False, True)
            details = now["opened"]["torrent"]
            assert details["connected"] == [peer]
            assert details["counted_peers"] == 1
            # Two of the three pieces in the first part, and no others.
            assert details["copies"] == [round(2 / 3, 2), *[0.0] * (PARTS - 1)]
        while not (now := await shown.next())["peers"]["departures"]:
            pass
        [gone] = now["peers"]["departures"]
        assert now["peers"]["rows"] == []
        # Which of the two depends on what was on its way.
        assert gone["reason"] in ("left", "connection-lost")
        assert now["peers"]["closes"] == {gone["reason"]: 1}
        assert (gone["address"], gone["port"]) == (host, port)
        assert gone["object"] == NELSON


async def test_what_needs_a_person_is_said(config: Config) -> None:
    missing = config.objects[0].model_copy(update={"key": "missing"})
    config = config.model_copy(update={"objects": (*config.objects, missing)})
    async with serving(config) as node, page(node) as shown:
        await until(lambda: served(node))
        while (now := await shown.next())["states"]["failed"] == 0:
            pass
        [failed] = [row for row in now["objects"]["rows"] if row["state"] == "failed"]
        assert failed["object"][2] == "missing"
        assert "404" in failed["reason"]
    async with serving(config) as node, page(node, opened=json.dumps(failed["object"])) as shown:
        while (now := await shown.next())["states"]["failed"] == 0:
            pass
        opened = now["opened"]
        assert opened["last_error"] == opened["reason"]
        assert abs(opened["last_error_at"] - now["at"]) < 30
        assert 0 < opened["next_look"] - now["at"] <= 1.1 * REFUSED_RETRY + 1


async def test_a_limit_that_is_reached_is_said_with_its_setting(config: Config) -> None:
    peer = config.peer.model_copy(
        update={"connections": 1, "connections_per_torrent": 1, "upload_rate": 1000.0}
    )
    savings = config.savings.model_copy(update={"currency": "EUR"})
    config = config.model_copy(update={"peer": peer, "savings": savings})
    async with serving(config) as node, page(node) as shown:
        await until(lambda: served(node))
        now = await shown.next()
        assert now["currency"] == "EUR"
        used = {limit["setting"]: limit for limit in now["limits"]}
        assert used["peer.connections"]["used"] == used["peer.connections_per_torrent"]["used"] == 0
        assert used["peer.upload_rate"]["limit"] == 1000
        assert not any(limit["full"] for limit in now["limits"])
        assert now["notices"] == []
        [torrent] = [publication.torrent for publication in node.catalog]
        assert torrent is not None
        [listening] = config.peer.listen
        async with await trio.open_tcp_stream(listening.host, listening.port) as stream:
            await stream.send_all(handshake(torrent.info_hash) + message(2))
            while len((now := await shown.next())["notices"]) < 2:
                pass
            reached = {limit["setting"] for limit in now["limits"] if limit["full"]}
            assert reached >= {"peer.connections", "peer.connections_per_torrent"}
            assert now["notices"] == [
                "every place for peers is taken (1): peer.connections gives more",
                "every place of a torrent is taken (1): peer.connections_per_torrent gives more",
            ]
