"""A node counts what goes to which group of addresses: in its ledger, its pages and its report."""

import ipaddress
import json
from functools import partial
from urllib.parse import urlencode

import httpx
import trio

from seeder.commands.report import ReportWanted, report
from seeder.config.public import GatewaySettings
from seeder.config.sections import Config
from seeder.daemon.foundation import LEDGER
from tests.admin.support import samples_of
from tests.daemon.support import BODY, get, served, serving, until
from tests.support.raw_peer import BLOCK, INTERESTED, UNCHOKE, handshake, message, request


async def test_what_goes_to_a_group_is_counted_by_kind(config: Config) -> None:
    networks = {
        "here": (ipaddress.ip_network("127.0.0.0/8"),),
        "far": (ipaddress.ip_network("192.0.2.0/24"),),
    }
    given = config.model_copy(
        update={
            "gateway": GatewaySettings(web_seed=True),
            "peer": config.peer.model_copy(update={"super_seeding": "off"}),
            "tracker": config.tracker.model_copy(update={"groups": networks}),
        }
    )
    [tracker], [peers], [admin] = config.tracker.listen, config.peer.listen, config.admin.listen
    async with serving(given) as node:
        await until(partial(served, node))
        [publication] = node.catalog
        assert publication.torrent is not None
        info_hash = publication.torrent.info_hash
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{tracker}/quotes/Nelson")).content == BODY
            for event, down, up in (("started", 0, 0), ("", 3 * len(BODY) // 4, 70)):
                query = {"info_hash": info_hash, "peer_id": "-XX0000-raw-peer-000", "port": 2000}
                query |= {"uploaded": up, "downloaded": down, "left": 9, "event": event}
                await client.get(f"http://{tracker}/announce?{urlencode(query)}")
        async with await trio.open_tcp_stream(peers.host, peers.port) as stream:
            await stream.send_all(handshake(info_hash) + message(INTERESTED))
            got = b""
            with trio.fail_after(60):
                while message(UNCHOKE) not in got:
                    got += await stream.receive_some()
                await stream.send_all(request(0))
                while len(got) < BLOCK:
                    got += await stream.receive_some()
        sent = len(BODY) + BLOCK
        await until(lambda: node.foundation.ledger.groups.counts["here"].sent_bytes >= sent)
        expected = {
            "name": "here",
            "sent_bytes": sent,
            "downloaded_claimed_bytes": 3 * len(BODY) // 4,
            "uploaded_claimed_bytes": 70,
            "from_peers_claimed_bytes": 0,
            "from_other_groups_claimed_least_bytes": 0,
            "from_other_groups_claimed_most_bytes": 0,
        }
        [here] = json.loads((await get(admin, "/status.json"))[1])["groups"]
        # The peer at the same address had the block over HTTP already, or else it gained it.
        assert here.pop("delivered_verified_bytes") in (len(BODY), len(BODY) + BLOCK)
        assert here == expected
        samples = samples_of((await get(admin, "/metrics"))[1])
        for name, group, value in (
            ("uploaded_bytes", "here", sent),
            ("uploaded_bytes", "far", 0),
            ("uploaded_bytes", "others", 0),
            ("downloaded_claimed_bytes", "here", 3 * len(BODY) // 4),
            ("uploaded_claimed_bytes", "here", 70),
        ):
            label = frozenset({("group", group)})
            assert samples[f"seeder_group_{name}_total", label] == value
    for wanted in (
        ReportWanted(by="group", as_json=True),
        ReportWanted(by="group", as_json=True, since=0.0),
        ReportWanted(as_json=True),
    ):
        told: list[str] = []
        report(given, [given.state_directory / LEDGER], wanted, told.append)
        [group] = json.loads("\n".join(told))["groups"]
        group.pop("delivered_verified_bytes")
        assert group == expected
    lines: list[str] = []
    report(given, [given.state_directory / LEDGER], ReportWanted(by="group"), lines.append)
    assert lines[0].split()[:3] == ["group", "from", "us"]
    assert lines[1].split() == ["measured", "verified", *["claimed"] * 4]
    assert lines[2].split()[:3] == ["here", "20.0", "MiB"]
    lines.clear()
    report(
        given, [given.state_directory / LEDGER], ReportWanted(by="group", as_csv=True), lines.append
    )
    assert lines[0].split("\r\n")[1].startswith(f"here,{sent},")
