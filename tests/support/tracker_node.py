"""The tracker alone, by HTTP and UDP on real sockets, for tests that ask it from other programs.

`python -m tests.support.tracker_node` takes commands as lines of JSON and answers each with a line;
it ends when its input does. What is announced is a line, too, where it was told to say so.

    {"open": 1, "hosts": ["127.0.0.1"], "torrents": {"68...": null}}
                            a tracker of these torrents; a text instead of null is why one is
                            refused; "peers_per_swarm" and "peers" are caps, "port" may be
                            given, "limited" turns on the limits of requests by address, "tell"
                            the lines about announces
    {"list": 1, "info_hash": "68..."}                                  who is in the swarm
    {"close": 1}
"""

import json
import os
import random
import secrets
import sys
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import trio

from seeder.errors import AnnounceError, ConfigError
from seeder.gateway.clients import Clients, TrustedProxies
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.http.messages import Request
from seeder.http.server import serve
from seeder.http.service import Service
from seeder.net.addresses import endpoint_address
from seeder.net.buckets import AddressLimiter
from seeder.net.datagrams import Datagram
from seeder.net.doors import Door, Doors
from seeder.net.sockets import bind_datagrams, listen
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceReply, AnnounceRequest
from seeder.tracker.datagrams import ConnectionIds
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.gateway.support import AnyObjects, make_routes
from tests.tracker.announcing import Ledger

_SIZE = 2**40


def _tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


class _Unmetered:
    def protocol(self, count: int) -> None:
        """Count nothing."""


class _Told(Swarms):
    """Swarms that say what is announced to them."""

    number: int
    asked: dict[str, Any]
    """By which protocol, and with what beside the announce itself."""

    def announce(
        self, request: AnnounceRequest, source: bytes, local: bytes | None, now: float
    ) -> AnnounceReply:
        event: dict[str, Any] = {
            "tracker": self.number,
            "event": request.event.value or "update",
            "info_hash": request.info_hash.hex(),
            "peer_id": request.peer_id.hex(),
            "ip": str(ip_address(source)),
            "port": request.port,
            "left": request.left,
            **self.asked,
        }
        try:
            return super().announce(request, source, local, now)
        except AnnounceError as refusal:
            event["refused"] = refusal.reason
            raise
        finally:
            _tell(event)


class _ToldDatagrams(TrackerDatagrams):
    def __init__(self, swarms: Swarms, clients: Clients) -> None:
        ids = ConnectionIds(secrets.token_bytes(32))
        super().__init__(swarms, clients, ids, _Unmetered(), trio.current_time)
        self._told = swarms if isinstance(swarms, _Told) else None

    def answer(self, datagram: Datagram, now: float, ids_now: float) -> bytes | None:
        if self._told is not None:
            self._told.asked = {"type": "udp"}
        return super().answer(datagram, now, ids_now)


class _Tracker:
    def __init__(self, order: dict[str, Any]) -> None:
        policy = SwarmPolicy()
        caps = {name: order[name] for name in ("peers", "peers_per_swarm") if name in order}
        kind = _Told if order.get("tell") else Swarms
        self.swarms = kind(replace(policy, **caps), OwnSeeder(0), rng=random.Random())
        if isinstance(self.swarms, _Told):
            self.swarms.number = order["open"]
        for text, reason in order["torrents"].items():
            info_hash = InfoHash.from_hex(text)
            self.swarms.open(info_hash, size=_SIZE, claims=Ledger())
            if reason is not None:
                self.swarms.close(info_hash, reason)
        clients = Clients.behind((), trio.current_time, Doors(Door(), Door(), Door()))
        if not order.get("limited"):
            endless = AddressLimiter(rate=1e9, burst=1e9)
            clients = Clients(TrustedProxies(()), endless, endless, trio.current_time)
        self._routes = make_routes(self.swarms, AnyObjects())
        self._datagrams = _ToldDatagrams(self.swarms, clients)
        hosts, port = order["hosts"], order.get("port", 0)
        self.listeners = []
        self.sockets = []
        for host in hosts:
            self.listeners.append(listen(host, port, "listen"))
            port = self.listeners[0].getsockname()[1]
        for host in hosts:
            self.sockets.append(bind_datagrams(host, port, "udp_listen"))
        self.port = port
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                for sock in self.sockets:
                    nursery.start_soon(self._datagrams.serve, sock)
                await serve(self.listeners, Service(self._answer))
        for each in (*self.listeners, *self.sockets):
            each.close()

    def _answer(self, request: Request) -> Any:
        if isinstance(self.swarms, _Told):
            headers = {n.decode().lower(): v.decode("latin-1") for n, v in request.headers}
            query = request.query.decode("latin-1")
            self.swarms.asked = {"type": "http", "query": query, "headers": headers}
        return self._routes(request)

    def peers(self, info_hash: str) -> list[dict[str, Any]]:
        """Return who is listed in a swarm."""
        found = []
        for row in self.swarms.export(trio.current_time()):
            if row["info_hash"] == info_hash:
                for endpoint, peer_id, _, complete, *_ in row["peers"]:
                    host, port = endpoint_address(bytes.fromhex(str(endpoint)))
                    found.append(
                        {"ip": host, "port": port, "peer_id": peer_id, "complete": bool(complete)}
                    )
        return found


def _opened(order: dict[str, Any]) -> _Tracker:
    """Return a tracker whose ports were free; another one may take those that belong together."""
    for _ in range(20):
        try:
            return _Tracker(order)
        except ConfigError:
            if order.get("port"):
                raise
    raise RuntimeError("no port is free for all protocols and families")


async def _obey() -> None:
    trackers: dict[int, _Tracker] = {}
    async with trio.open_nursery() as nursery:
        lines = trio.lowlevel.FdStream(os.dup(0))
        rest = b""
        async for data in lines:
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                order = json.loads(line)
                if "open" in order:
                    tracker = trackers[order["open"]] = _opened(order)
                    nursery.start_soon(tracker.run)
                    _tell({"opened": order["open"], "port": tracker.port})
                elif "list" in order:
                    peers = trackers[order["list"]].peers(order["info_hash"])
                    _tell({"listed": order["list"], "peers": peers})
                else:
                    trackers.pop(order["close"]).scope.cancel()
                    _tell({"closed": order["close"]})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_obey)
