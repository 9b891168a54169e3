"""A node with a private object: what a passkey opens, and what a stranger sees of it."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import trio
from bencode2 import bdecode

from seeder.commands.keys import list_keys, revoke_keys
from seeder.commands.report_sums import tell_names
from seeder.config.sections import Config
from seeder.daemon.foundation import LEDGER
from seeder.daemon.logs import JsonFormatter, LineFormatter
from seeder.gateway.keys import PASSKEY_SECRET
from seeder.gateway.register_file import REGISTER
from seeder.gateway.routes import PublicRoutes
from seeder.http.messages import Request, Response
from seeder.ledger.reading import records_of
from tests.daemon.private_site import (
    ALICE,
    BOB,
    KEY_ID,
    SECRET,
    STRANGER,
    Site,
    private_config,
    wait_served,
)
from tests.daemon.support import BODY, serving, until
from tests.gateway.signing import signed
from tests.support.raw_peer import (
    BLOCK,
    PIECE,
    RawPeer,
    request,
)

FORMS: tuple[type[LineFormatter | JsonFormatter], ...] = (LineFormatter, JsonFormatter)
NEXT_DOOR = "127.0.3.9"
FORMATTERS = [form(journal=each) for form in FORMS for each in (False, True)]
WRONG = b"this link is not valid: get the torrent anew\n"


@pytest.fixture
def private(config: Config, tmp_path: Path) -> Config:
    return private_config(config, tmp_path)


def signed_target(target: str, site: Site) -> tuple[str, dict[str, str]]:
    """Return a target and the headers that sign it with the access key."""
    import time

    url = f"http://{site.config.tracker.listen[0]}{target}"
    made = signed(url, now=time.time(), secret=SECRET, key_id=KEY_ID)
    headers = {name.decode(): value.decode() for name, value in made.headers}
    return target, headers


# -- the tracker and the seeder


async def test_who_announced_with_a_good_key_is_served_and_nobody_else(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        alice = await site.make("alice")
        assert not await site.is_served(ALICE)
        reply = await site.announce(alice, ALICE)
        assert b"peers" in reply
        assert await site.is_served(ALICE)
        # libtorrent has another peer id for each connection.
        assert await site.is_served(ALICE, "another")
        assert not await site.is_served(STRANGER)
        node.swarms.loading = False
        for key in ("", "wrong"):
            assert b"not registered" in (await site.announce(key, STRANGER))[b"failure reason"]
        assert not await site.is_served(STRANGER)
        # From another address of the same site, the peer id is a proof.
        assert await site.is_served(NEXT_DOOR)
        assert not await site.is_served(NEXT_DOOR, "another")
        assert node.hub.statistics().closes["not-a-member"] == 4


async def test_a_revoked_one_is_let_go_within_seconds_and_another_goes_on(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        keys = {address: await site.make(name) for address, name in ((ALICE, "a"), (BOB, "b"))}
        for address, key in keys.items():
            await site.announce(key, address)
        listen = site.listens_at
        with RawPeer(ALICE, listen) as alice, RawPeer(BOB, listen) as bob:
            for peer in (alice, bob):
                await trio.to_thread.run_sync(site.greet, peer, "x")
            await site.revoke("a")
            with trio.fail_after(10):
                assert await trio.to_thread.run_sync(alice.is_closed)
            bob.send(request(3))
            assert (await trio.to_thread.run_sync(bob.wait_for, PIECE))[:4] == bytes([0, 0, 0, 3])
        refused = await site.announce(keys[ALICE], ALICE)
        assert refused[b"failure reason"] == b"your passkey was revoked"
        assert not await site.is_served(ALICE)
        assert await site.is_served(BOB)
        [member] = [row for row in site.node.swarms.export(0.0) if row["peers"]]
        assert len(member["peers"]) == 1
        again = await site.make("a")
        await site.announce(again, ALICE)
        assert await site.is_served(ALICE)


@pytest.mark.parametrize("shown", ["peer id", "port"])
async def test_behind_one_address_the_revoked_one_is_told_from_the_other(
    private: Config, shown: str
) -> None:
    names = {"a": "aaa", "b": "bbb"} if shown == "peer id" else {"a": "x", "b": "y"}
    ports = {"a": 6001, "b": 6002}
    async with serving(private) as node:
        site = await wait_served(node)
        for name, port in ports.items():
            await site.announce(
                await site.make(name), ALICE, port, name=names[name] if shown == "peer id" else name
            )
        told = ports if shown == "port" else dict.fromkeys(ports)
        with RawPeer(ALICE, site.listens_at) as bob:
            await trio.to_thread.run_sync(site.greet, bob, names["b"], told["b"])
            await until(lambda: [peer.holder for peer in node.hub.peers()] == ["b"])
            with RawPeer(ALICE, site.listens_at) as alice:
                await trio.to_thread.run_sync(site.greet, alice, names["a"], told["a"])
                await until(lambda: {peer.holder for peer in node.hub.peers()} == {"a", "b"})
                await site.revoke("a")
                with trio.fail_after(10):
                    assert await trio.to_thread.run_sync(alice.is_closed)
            # Bob's place is taken, by Bob.
            assert not await site.is_served(ALICE, "another")
            assert not await site.is_served(ALICE, names["a"] + "new")
            bob.send(request(3))
            await trio.to_thread.run_sync(bob.wait_for, PIECE)


async def test_a_restart_forgets_neither_members_nor_revocations(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        keys = [await site.make(name) for name in ("alice", "bob")]
        for key, address in zip(keys, (ALICE, BOB), strict=True):
            await site.announce(key, address)
    saved = b"".join(path.read_bytes() for path in private.state_directory.glob("*.json"))
    assert not any(key.encode() in saved for key in keys)
    await trio.to_thread.run_sync(
        partial(revoke_keys, [private], "bob", unknown=False, show=lambda line: None)
    )
    async with serving(private) as node:
        site = await wait_served(node)
        assert await site.is_served(ALICE)
        assert not await site.is_served(BOB)
        reply = await site.announce(keys[1], BOB)
        assert reply[b"failure reason"] == b"your passkey was revoked"


async def test_while_the_register_is_damaged_private_torrents_are_closed(
    private: Config, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(private) as node:
        key = await (await wait_served(node)).make("alice")
    register = private.state_directory / REGISTER
    whole = register.read_bytes()
    register.write_bytes(b"{}")
    async with serving(private) as node:
        site = await wait_served(node)
        assert b"failure reason" in await site.announce(key, ALICE)
        lines = [each.getMessage() for each in caplog.records if REGISTER in each.getMessage()]
        assert len(lines) == 1
        assert lines[0].endswith("until then, private torrents are closed to everybody")
        register.write_bytes(whole)
        await site.node.passkeys.look()
        assert b"peers" in await site.announce(key, ALICE)
        # Once it has been read, damage costs nobody anything.
        register.write_bytes(b"{")
        await site.node.passkeys.look()
        assert b"peers" in await site.announce(key, ALICE)


# -- over HTTP


async def test_a_signed_torrent_has_the_passkey_of_who_signs(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        plain = await site.get("/quotes/Nelson?torrent")
        assert plain.status_code == 403
        target, headers = signed_target("/quotes/Nelson?torrent=", site)
        got = await site.get(target, **headers)
        torrent = bdecode(got.content)
        assert torrent[b"info"][b"private"] == 1
        assert b"announce-list" not in torrent
        key = torrent[b"announce"].decode().rpartition("/announce/")[2]
        web = str(private.tracker.listen[0])
        assert torrent[b"url-list"] == [f"http://{web}/-/{key}/quotes/Nelson".encode()]
        assert (await site.get(target, **headers)).content == got.content
        again = await site.get(target, **headers, **{"If-None-Match": got.headers["ETag"]})
        assert again.status_code == 304
        assert b"peers" in await site.announce(key, ALICE)
        await site.node.passkeys.look()
        [entry] = listed(private)
        assert (entry["name"], entry["object"], entry["state"]) == (KEY_ID, "quotes/Nelson", "good")

        await site.revoke(KEY_ID)
        await site.node.passkeys.look()
        for page in ("?torrent=", ""):
            target, headers = signed_target(f"/quotes/Nelson{page}", site)
            assert (await site.get(target, **headers)).status_code == 403
        # Until the operator makes it another one.
        await site.make(KEY_ID)
        for page in ("?torrent=", ""):
            target, headers = signed_target(f"/quotes/Nelson{page}", site)
            assert (await site.get(target, **headers)).status_code == 200


async def test_a_private_torrent_has_no_magnet_link_and_no_place_in_the_list(
    private: Config,
) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        target, headers = signed_target("/quotes/Nelson?magnet=", site)
        assert (await site.get("/quotes/Nelson?magnet")).status_code == 403
        assert (await site.get(target, **headers)).status_code == 400
        for form in ("html", "json", "rss"):
            page = (await site.get(f"/?format={form}")).text
            assert "Nelson" not in page
            assert site.info_hash.hex() not in page


async def test_the_path_of_a_passkey_gives_the_object_and_its_ranges(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        path = f"/-/{key}/quotes/Nelson"
        whole = await site.get(path, ALICE)
        assert whole.content == BODY
        part = await site.get(path, ALICE, Range="bytes=5-104")
        assert (part.status_code, part.content) == (206, BODY[5:105])
        assert part.headers["Referrer-Policy"] == "no-referrer"
        assert part.headers["Cache-Control"] == "private, no-cache"
        assert "Access-Control-Allow-Origin" not in part.headers
        await node.foundation.database.flush(node.foundation.ledger)
        [row] = by_name(private)
        assert (row["name"], row["sent_bytes"]) == ("alice", len(BODY) + 100)


async def test_a_wrong_path_tells_nothing_about_objects(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        answers = [
            await site.get(f"/-/{target}")
            for target in (
                "wrong/quotes/Nelson",
                "wrong/quotes/Nobody",
                "wrong/nowhere/Nelson",
                f"{key}/quotes/Nobody",
                f"{key}0/quotes/Nelson",
                f"{key}/",
                key,
                "",
                "/",
                "wrong/quotes/Nelson?torrent",
            )
        ]
        for answer in answers:
            assert (answer.status_code, answer.content) == (403, WRONG)
            same = {name: value for name, value in answer.headers.items() if name != "date"}
            assert same == {k: v for k, v in answers[0].headers.items() if k != "date"}
        await site.revoke("alice")
        await site.node.passkeys.look()
        gone = await site.get(f"/-/{key}/quotes/Nelson")
        assert (gone.status_code, gone.text) == (403, "this link was revoked\n")


async def test_a_download_ends_when_its_key_is_revoked(private: Config) -> None:
    limited = private.model_copy(
        update={"peer": private.peer.model_copy(update={"upload_rate_per_peer": 64 * 1024})}
    )
    async with serving(limited) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        transport = httpx.AsyncHTTPTransport(local_address=ALICE)
        url = f"http://{limited.tracker.listen[0]}/-/{key}/quotes/Nelson"
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            with trio.fail_after(60):
                async with client.stream("GET", url) as answer:
                    assert answer.status_code == 200
                    await site.revoke("alice")
                    with pytest.raises(httpx.RemoteProtocolError):
                        async for _ in answer.aiter_bytes():
                            pass


# -- what is told, and what isn't


def listed(config: Config) -> list[dict[str, Any]]:
    lines: list[str] = []
    list_keys([config], as_json=True, show=lines.append)
    found: list[dict[str, Any]] = json.loads("".join(lines))["keys"]
    return found


def by_name(config: Config) -> list[dict[str, Any]]:
    lines: list[str] = []
    with records_of(config.state_directory / LEDGER) as records:
        tell_names(records, None, None, form="json", show=lines.append)
    found: list[dict[str, Any]] = json.loads("".join(lines))["names"]
    return found


async def test_what_was_sent_and_claimed_is_told_by_name(private: Config) -> None:
    async with serving(private) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        await site.announce(key, ALICE, event="started")
        assert await site.is_served(ALICE)
        more: dict[str, Any] = {"uploaded": 700, "downloaded": 900}
        await site.announce(key, ALICE, event="completed", **more)
        await until(lambda: node.hub.statistics().connected == 0)
        await node.foundation.database.flush(node.foundation.ledger)
        [row] = by_name(private)
        assert {**row, "last_seen": 0} == {
            "name": "alice",
            "sent_bytes": BLOCK,
            "downloaded_claimed_bytes": 900,
            "uploaded_claimed_bytes": 700,
            "completed": 1,
            "last_seen": 0,
        }
        assert row["last_seen"] > 0
        [entry] = listed(private)
        assert entry["last_seen"] == row["last_seen"]
    # Another run counts on.
    async with serving(private) as node:
        site = await wait_served(node)
        await site.announce(key, ALICE, uploaded=1000, downloaded=900)
        await node.foundation.database.flush(node.foundation.ledger)
        [row] = by_name(private)
        assert (row["uploaded_claimed_bytes"], row["completed"]) == (1000, 1)


async def test_a_passkey_is_nowhere_but_in_its_torrent(
    private: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    async with serving(private) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        await site.announce(key, ALICE)
        await site.get(f"/-/{key}/quotes/Nelson", ALICE)
        await site.get(f"/-/{key}/quotes/Nobody", ALICE)
        with monkeypatch.context() as broken:
            broken.setattr(node.swarms, "announce", None)
            broken.setattr(node.swarms, "scrape", None)
            for page in ("announce", "scrape"):
                answer = await site.get(
                    f"/{page}/{key}?info_hash={'h' * 20}&peer_id={'p' * 20}&port=1"
                )
                assert answer.status_code == 500
                assert key not in answer.text
        admin = private.admin.listen[0]
        async with httpx.AsyncClient(trust_env=False) as client:
            for page in ("status.json", "metrics", ""):
                assert key not in (await client.get(f"http://{admin}/{page}")).text
        assert any("the handler of" in record.getMessage() for record in caplog.records)
    ours = [record for record in caplog.records if record.name.startswith("seeder")]
    assert len(ours) > 5
    for formatter in FORMATTERS:
        assert not any(key in formatter.format(record) for record in ours)
    for path in private.state_directory.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes()


def spellings(key: str) -> list[str]:
    """Return requests with a key, in all the ways that a client may write them."""
    coded = "".join(f"%{ord(each):02x}" for each in key)
    half = key[:9] + coded[27:]
    keys = (key, coded, half, coded.replace("%", "%25"))
    pages = ("announce", "scrape", "-", "Announce", "%2D", "%61nnounce", "announce/more")
    before = ("/", "//", "http://t.test/", "HTTP://t.test:80//", "http://KEY@t.test/", "")
    behind = ("", "/quotes/Nelson", "?info_hash=KEY", "#KEY", "?torrent")
    return [
        f"{start}{page}/{spelled}{end}".replace("KEY", spelled)
        for spelled in keys
        for page in pages
        for start in before
        for end in behind
    ]


@pytest.mark.parametrize("fails", [False, True])
async def test_no_spelling_of_a_passkey_gets_into_the_log(
    private: Config,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fails: bool,
) -> None:
    def fail(_: object, request: Request) -> Response:
        raise ValueError(f"{request.path!r} {request.query!r} {request.headers!r}")

    caplog.set_level("DEBUG")
    async with serving(private) as node:
        site = await wait_served(node)
        key = await site.make("alice")
        if fails:
            monkeypatch.setattr(PublicRoutes, "__call__", fail)
        host, port = private.tracker.listen[0]
        for target in spellings(key):
            lines = [f"GET {target} HTTP/1.1", "Host: t.test", f"Referer: {target}", "", ""]
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all("\r\n".join(lines).encode())
                await stream.receive_some(1)
    ours = [record for record in caplog.records if record.name.startswith("seeder")]
    assert any("the handler of" in record.getMessage() for record in ours) == fails
    for record in ours:
        for formatter in FORMATTERS:
            line = formatter.format(record)
            for _ in range(3):
                assert key[-16:] not in line
                line = unquote(line)


async def test_the_secret_is_made_once_and_for_us_alone(private: Config) -> None:
    from seeder.gateway.keys import read_or_make_signer, read_signer
    from seeder.tracker.passkeys import Passkey

    assert read_signer(private) is None
    passkey = Passkey("alice", 1, 2)
    info_hash: Any = b"h" * 20
    made = read_or_make_signer(private).sign(passkey, info_hash)
    assert read_or_make_signer(private).sign(passkey, info_hash) == made
    path = private.state_directory / PASSKEY_SECRET
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in private.state_directory.iterdir()] == [PASSKEY_SECRET]
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
