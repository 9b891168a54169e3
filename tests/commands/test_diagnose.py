"""`seeder diagnose` against our daemon, libtorrent, and whatever may be wrong with a torrent."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import trio
from bencode2 import bencode

from seeder.commands import diagnose as diagnosing
from seeder.commands.diagnose import diagnose
from seeder.commands.diagnosis import Diagnosis
from seeder.commands.sought import MOST_TRACKERS, parse_sought_file, parse_sought_link
from seeder.commands.tasting import Taste, Taster
from seeder.errors import FetchFailed, MetainfoError, StorageError
from seeder.net.addresses import HostPort, compact_endpoint
from tests.commands.support import PROGRAM, Site, environment, seeder
from tests.daemon.support import until
from tests.s3.fault_server import FaultServer, answer
from tests.support.objects import KIB, Torrent, content, make_torrent
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.raw_peer import (
    BITFIELD,
    EXTENDED,
    EXTENDED_MESSAGE,
    FAST,
    HAVE,
    PIECE,
    UNCHOKE,
    handshake,
    message,
)

BODY = content(200 * KIB)
PIECE_LENGTH = 64 * KIB
TRACKER = "http://127.0.0.1:1/announce"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long who never answers."""
    monkeypatch.setattr(diagnosing, "PEER_SECONDS", 3.0)


@pytest.fixture
def torrent() -> Torrent:
    return make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH, trackers=(TRACKER,))


def with_keys(torrent: Torrent, **more: bytes) -> bytes:
    """Return the torrent file with more keys, bencoded values."""
    keys = {"announce": bencode(TRACKER.encode()), "info": torrent.info} | {
        name.replace("_", "-"): value for name, value in more.items()
    }
    return b"d" + b"".join(bencode(k.encode()) + keys[k] for k in sorted(keys)) + b"e"


async def found_in(data: bytes, directory: Path, *, private: bool = True) -> Diagnosis:
    path = directory / "a.torrent"
    await trio.Path(path).write_bytes(data)
    with trio.fail_after(60):
        return await diagnose(str(path), private=private)


# -- real seeders


@pytest.fixture
def announce(site: Site) -> str:
    port = free_port("127.0.0.1")
    text = site.path.read_text().replace("127.0.0.1:6969", f"127.0.0.1:{port}")
    text = text.replace("127.0.0.1:0", f"127.0.0.1:{port}")
    site.path.write_text(f"{text}\n[gateway]\nweb_seed = true\n")
    return f"http://127.0.0.1:{port}"


async def test_our_own_daemon_works_by_url_by_file_and_by_magnet_link(
    site: Site, announce: str, tmp_path: Path
) -> None:
    argv: list[str | Path] = [*PROGRAM, "run", "-c", site.path]
    with Child(argv, log=tmp_path / "run.log", env=environment()) as daemon:
        await until(lambda: daemon.output().count(": serving ") == 2)
        url = f"{announce}/quotes/Nelson?torrent"
        by_url = await seeder("diagnose", url)
        assert (by_url.code, by_url.err) == (0, ""), by_url
        lines = by_url.out.decode().splitlines()
        assert lines[1].startswith(f"tracker {announce}/announce names 1 peer in ")
        assert lines[2].startswith(f"peer {site.peer} (seeder) gave a right piece in ")
        assert lines[3].startswith(f"web seed {announce}/quotes/Nelson gave a right piece in ")
        assert lines[4].startswith(
            "It works: 1 of 1 peer and 1 of 1 web seed gave a right piece, the first in "
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            (tmp_path / "n.torrent").write_bytes((await client.get(url)).content)
            magnet = (await client.get(url.replace("?torrent", "?magnet"))).text.strip()
        for source in (str(tmp_path / "n.torrent"), magnet):
            told = await seeder("diagnose", "--json", "--private", source)
            assert told.code == 0, told
            document = json.loads(told.out)
            assert document["works"]
            assert document["peers"][0]["ours"]
            refused = await seeder("diagnose", source)
            assert refused.code == 1
            last = refused.out.decode().splitlines()[-1]
            assert "is a private address" in last
            assert last.endswith("Left out as private: 127.0.0.1 (see --private).")


async def test_libtorrent_gives_a_piece_by_file_and_by_magnet_link(
    torrent: Torrent, tmp_path: Path
) -> None:
    pytest.importorskip("libtorrent", exc_type=ImportError)
    from tests.support.libtorrent_client import Libtorrent

    (tmp_path / "Nelson").write_bytes(BODY)
    torrent.write(tmp_path / "n.torrent")
    with Libtorrent("127.0.0.1", tmp_path / "lt") as client:
        client.seed(tmp_path / "n.torrent", tmp_path / "Nelson")
        link = f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&x.pe=127.0.0.1:{client.port}"
        found = await diagnose(link, private=True)
    assert found.works, found
    assert found.peers[0].client.startswith("LT")
    assert found.peers[0].pieces == 4


# -- faults on demand

Talk = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def peer(talk: Talk) -> AsyncIterator[bytes]:
    """Run a peer; yield its compact endpoint."""
    async with trio.open_nursery() as nursery:
        serve = await nursery.start(trio.serve_tcp, talk, 0)
        port = serve[0].socket.getsockname()[1]
        yield compact_endpoint(bytes((127, 0, 0, 1)), port)
        nursery.cancel_scope.cancel()


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got = await stream.receive_some(count - len(data))
        if not got:
            raise trio.BrokenResourceError
        data += bytes(got)
    return data


@dataclass(frozen=True)
class Scripted:
    """A peer that has everything, and gives the pieces of `body`."""

    torrent: Torrent
    body: bytes = BODY
    unchokes: bool = True
    info_hash: bytes = b""

    async def __call__(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(30):
            try:
                await self._talk(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _talk(self, stream: trio.SocketStream) -> None:
        await exactly(stream, 68)
        await stream.send_all(handshake(self.info_hash or self.torrent.info_hash))
        await stream.send_all(message(BITFIELD, b"\xf0"))
        if self.unchokes:
            await stream.send_all(message(UNCHOKE))
        while True:
            length = int.from_bytes(await exactly(stream, 4), "big")
            told = await exactly(stream, length)
            if told[:1] == b"\6":
                index, begin, size = (int.from_bytes(told[n : n + 4], "big") for n in (1, 5, 9))
                at = index * PIECE_LENGTH + begin
                block = self.body[at : at + size]
                await stream.send_all(message(PIECE, told[1:9] + block))


def tracker(faults: FaultServer, peers: bytes = b"", **more: bytes) -> str:
    reply = {"interval": b"i60e", "peers": bencode(peers)} | more
    body = b"d" + b"".join(bencode(k.encode()) + reply[k] for k in sorted(reply)) + b"e"
    faults.default = answer(200, body)
    return f"{faults.url}/announce"


async def faulty(torrent: Torrent, directory: Path, url: str = TRACKER, **more: bytes) -> Diagnosis:
    return await found_in(with_keys(torrent, announce=bencode(url.encode()), **more), directory)


async def test_a_right_piece_works(torrent: Torrent, faults: FaultServer, tmp_path: Path) -> None:
    async with peer(Scripted(torrent)) as endpoint:
        found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
    assert found.works
    assert found.verdict.startswith("It works: 1 of 1 peer gave a right piece, the first in ")
    started, stopped = [request.query for request in faults.seen]
    assert "event=started" in started
    assert "left=204800" in started
    assert "event=stopped" in stopped
    assert f"info_hash={quote(torrent.info_hash)}" in started


async def test_a_tracker_that_is_down(torrent: Torrent, tmp_path: Path) -> None:
    found = await faulty(torrent, tmp_path)
    assert found.verdict == f"No tracker answers: {TRACKER} Connection refused."
    assert not found.works


UDP = "udp://127.0.0.1:9/announce"


async def test_a_tracker_by_udp_is_not_tried_and_not_called_broken(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    async with peer(Scripted(torrent)) as endpoint:
        url = tracker(faults, endpoint)
        found = await faulty(torrent, tmp_path, UDP, announce_list=bencode([[url.encode()]]))
    assert found.works
    assert re.fullmatch("It works: 1 of 1 peer gave a right piece, the first .* s.", found.verdict)
    assert [(each.url, each.tried) for each in found.trackers] == [(url, True), (UDP, False)]


async def test_where_all_trackers_are_by_udp_the_verdict_says_that_none_is_tried(
    torrent: Torrent, tmp_path: Path
) -> None:
    found = await faulty(torrent, tmp_path, UDP)
    reason = "isn't tried: only trackers by HTTP are"
    assert found.verdict == f"No tracker is tried: {UDP} {reason}."
    assert not found.works


async def test_many_trackers_by_udp_leave_room_for_the_one_by_http(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    tiers = [[f"{UDP}/{number}".encode()] for number in range(MOST_TRACKERS)]
    async with peer(Scripted(torrent)) as endpoint:
        url = tracker(faults, endpoint)
        tiers.append([url.encode()])
        found = await faulty(torrent, tmp_path, UDP, announce_list=bencode(tiers))
    assert found.works
    assert len(found.trackers) == MOST_TRACKERS


async def test_a_tracker_that_refuses(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    url = tracker(faults, **{"failure reason": bencode(b"not\x1b[2J here")})
    found = await faulty(torrent, tmp_path, url)
    assert found.verdict == "The tracker refuses: not\x1b[2J here."
    told = await seeder("diagnose", "--private", tmp_path / "a.torrent")
    assert (told.code, told.err) == (1, "")
    assert b"\x1b" not in told.out
    assert b"refuses: not\\x1b[2J here" in told.out


@pytest.mark.parametrize("body", [b"<html>", b"", b"i1e", b"d5:peersli", b"x" * 300_000])
async def test_a_tracker_that_talks_nonsense(
    torrent: Torrent, faults: FaultServer, tmp_path: Path, body: bytes
) -> None:
    faults.default = answer(200, body)
    found = await faulty(torrent, tmp_path, f"{faults.url}/announce")
    assert not found.works
    assert "its answer is no tracker's" in found.verdict


async def test_a_tracker_that_names_nobody(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    found = await faulty(torrent, tmp_path, tracker(faults))
    assert found.verdict.startswith("No tracker names a peer: nobody seeds it")


async def test_peers_that_can_t_be_connected_to(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    endpoint = compact_endpoint(bytes((127, 0, 0, 1)), port)
    found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
    assert found.verdict == (
        f"None of 1 peer can be connected to: 127.0.0.1:{port} Connection refused;"
        " check port and firewall."
    )


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def hangs_up(stream: trio.SocketStream) -> None:
    await exactly(stream, 68)


async def test_peers_that_say_nothing_or_hang_up(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    for talk, why in (
        (silent, "doesn't answer the handshake within 3 s"),
        (hangs_up, "hangs up on the handshake: it hasn't this torrent, or takes encryption"),
    ):
        async with peer(talk) as endpoint:
            found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
        assert found.verdict.startswith("No peer has this torrent: 127.0.0.1:")
        assert why in found.verdict


async def test_a_peer_with_another_torrent(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    async with peer(Scripted(torrent, info_hash=b"x" * 20)) as endpoint:
        found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
    assert "it answers with another torrent's" in found.verdict


async def test_a_peer_that_chokes(torrent: Torrent, faults: FaultServer, tmp_path: Path) -> None:
    async with peer(Scripted(torrent, unchokes=False)) as endpoint:
        found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
    assert found.verdict.startswith("No peer gives a piece: ")
    assert "it is choked" in found.verdict
    assert found.peers[0].pieces == 4


METADATA = b"d1:md11:ut_metadatai3ee13:metadata_sizei%dee"


@pytest.mark.parametrize(
    "told",
    [
        b"\xff\xff\xff\xff",
        message(BITFIELD, b"\xff" * 300_000) + message(UNCHOKE),
        message(HAVE, b"\xff\xff\xff\xff") + message(UNCHOKE),
        message(UNCHOKE) + message(PIECE, b"x"),
        message(UNCHOKE) + message(BITFIELD, b"\xf0") + message(PIECE, bytes(8) + b"short"),
        message(HAVE, b"\0\0\0") + message(UNCHOKE),
        message(EXTENDED_MESSAGE),
        message(EXTENDED_MESSAGE, b"\0" + b"l" * 5000),
        message(EXTENDED_MESSAGE, b"\0i1e"),
        message(EXTENDED_MESSAGE, b"\0" + METADATA % 10**12),
        message(EXTENDED_MESSAGE, b"\0" + METADATA % -5),
        message(EXTENDED_MESSAGE, b"\0" + METADATA % 5)
        + message(EXTENDED_MESSAGE, b"\1d8:msg_typei1e5:piecei-1eehello"),
        message(EXTENDED_MESSAGE, b"\0" + METADATA % 5)
        + message(EXTENDED_MESSAGE, b"\1d8:msg_typei1e5:piecei0eehello"),
        message(EXTENDED_MESSAGE, b"\0" + METADATA % 5)
        + message(EXTENDED_MESSAGE, b"\1d8:msg_typei2e5:piecei0ee"),
        message(EXTENDED_MESSAGE, b"\1d8:msg_typei1e5:piecei0eehello"),
    ],
)
@pytest.mark.parametrize("by_link", [False, True])
async def test_peers_that_lie_are_told_of(
    torrent: Torrent, tmp_path: Path, told: bytes, by_link: bool
) -> None:
    async def lies(stream: trio.SocketStream) -> None:
        await exactly(stream, 68)
        greeting = handshake(torrent.info_hash, reserved=FAST | EXTENDED)
        await stream.send_all(greeting + told)

    async with peer(lies) as endpoint:
        port = int.from_bytes(endpoint[4:], "big")
        link = f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&x.pe=127.0.0.1:{port}"
        if by_link:
            found = await diagnose(link, private=True)
        else:
            sought = replace(
                parse_sought_link(link), described=parse_sought_file(torrent.file()).described
            )
            taste = Taste(HostPort("127.0.0.1", port))
            await Taster(sought, b"-XX0000-------------", dial).taste(taste, 3.0)
            assert taste.verified is None
            assert taste.problem
            return
    assert not found.works
    assert found.peers[0].problem


async def dial(address: HostPort) -> trio.SocketStream:
    return await trio.open_tcp_stream(*address)


async def test_wrong_bytes_are_the_verdict_also_beside_right_ones(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    async with peer(Scripted(torrent)) as right, peer(Scripted(torrent, bytes(len(BODY)))) as wrong:
        found = await faulty(torrent, tmp_path, tracker(faults, right + wrong))
    assert not found.works
    assert found.verdict.startswith("Wrong bytes come from 127.0.0.1:")
    assert found.verdict.endswith("; others give right ones.")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((206, BODY[:PIECE_LENGTH]), None),
        ((200, BODY), None),
        ((206, bytes(PIECE_LENGTH)), "wrong bytes"),
        ((206, BODY[:100]), f"sends 100 of {PIECE_LENGTH} bytes"),
        ((404, b"gone"), "answers 404 to a range"),
        ((302, b""), "answers 302 to a range"),
    ],
)
async def test_web_seeds(
    torrent: Torrent,
    faults: FaultServer,
    tmp_path: Path,
    given: tuple[int, bytes],
    problem: str | None,
) -> None:
    faults.default = answer(*given)
    url = f"{faults.url}/Nelson"
    found = await faulty(torrent, tmp_path, url_list=bencode(url.encode()))
    assert faults.seen[0].headers["range"] == f"bytes=0-{PIECE_LENGTH - 1}"
    assert found.works is (problem is None)
    if problem is None:
        assert found.verdict.startswith("It works: 1 of 1 web seed gave a right piece")
        assert found.verdict.endswith("but a tracker doesn't work: Connection refused.")
    else:
        assert problem in found.verdict or problem in found.web_seeds[0].problem


async def test_a_redirect_of_a_web_seed_leads_to_no_private_address(
    torrent: Torrent, faults: FaultServer, tmp_path: Path
) -> None:
    found = await found_in(
        with_keys(torrent, url_list=bencode(f"{faults.url}/Nelson".encode())),
        tmp_path,
        private=False,
    )
    assert faults.seen == []
    assert "is a private address" in found.web_seeds[0].problem


async def test_a_private_torrent_is_tried_like_any_other(
    faults: FaultServer, tmp_path: Path
) -> None:
    torrent = make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH, private=True)
    async with peer(Scripted(torrent)) as endpoint:
        found = await faulty(torrent, tmp_path, tracker(faults, endpoint))
    assert found.works


async def test_v2_alone_is_said(faults: FaultServer, tmp_path: Path) -> None:
    info = (
        b"d9:file treed1:ad0:d6:lengthi5e11:pieces root32:" + b"r" * 32 + b"eee"
        b"12:meta versioni2e4:name1:a12:piece lengthi16384ee"
    )
    url = tracker(faults, compact_endpoint(bytes((127, 0, 0, 1)), 1))
    found = await found_in(
        b"d8:announce" + bencode(url.encode()) + b"4:info" + info + b"e", tmp_path
    )
    assert found.verdict == (
        "1 peer named, but it is of BitTorrent v2 alone, whose pieces aren't tried."
    )


async def test_a_magnet_link_without_anybody(torrent: Torrent) -> None:
    found = await diagnose(f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}")
    assert found.verdict == "Nothing names a tracker, a peer or a web seed, and DHT isn't tried."
    assert not found.works


async def test_what_is_no_torrent_ends_with_a_line(
    faults: FaultServer, torrent: Torrent, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("hello")
    for source, kind in (
        (str(tmp_path / "none"), StorageError),
        (str(tmp_path), StorageError),
        (str(tmp_path / "text"), MetainfoError),
        ("magnet:?dn=x", MetainfoError),
        ("magnet:?xt=urn:btih:zz", MetainfoError),
        ("http://127.0.0.1:1/x", FetchFailed),
        ("ftp://127.0.0.1:1/x", FetchFailed),
        ("HTTP://127.0.0.1:1/x", FetchFailed),
        ("MAGNET:?dn=x", MetainfoError),
    ):
        with pytest.raises(kind):
            await diagnose(source)
    told = await seeder("diagnose", tmp_path / "text")
    assert (told.code, told.out) == (1, b"")
    assert told.line.startswith("this is no torrent")


XML = "<?xml version='1.0'?>\n<Error><Code>{}</Code><Message>{}.</Message></Error>"
PAGE = b"<!DOCTYPE html>\n<html><title>Log in</title></html>"


@pytest.mark.parametrize(
    ("status", "body", "name", "said"),
    [
        (
            403,
            XML.format("AccessDenied", "Access Denied").encode(),
            "x?torrent",
            "but 403 AccessDenied: Access Denied; if it isn't public, give the torrent file",
        ),
        (
            404,
            XML.format("NoSuchKey", "The specified key is not published here").encode(),
            "x?torrent",
            "but 404 NoSuchKey: The specified key is not published here; is this object published",
        ),
        (
            503,
            XML.format(
                "ServiceUnavailable", "The torrent is being made; please try again"
            ).encode(),
            "x?torrent",
            "but 503 ServiceUnavailable: The torrent is being made; please try again",
        ),
        (404, PAGE, "x?torrent", 'but 404 with a page of HTML ("Log in"): '),
        (200, PAGE, "x?torrent", "this is no torrent; the answer is a page of HTML: "),
        (200, b"an object", "b/x", "this is no torrent; did you mean URL?torrent"),
        (405, XML.format("MethodNotAllowed", "No").encode(), "b/x", "; did you mean URL?torrent"),
        (200, PAGE, "", "this is no torrent; the answer is a page of HTML: "),
        (200, b"d8:announce", "x.torrent", "this is no torrent: "),
    ],
)
async def test_a_url_that_gives_no_torrent_says_why_in_a_line(
    faults: FaultServer, status: int, body: bytes, name: str, said: str
) -> None:
    faults.default = answer(status, body)
    url = f"{faults.url}/{name}"
    with pytest.raises((FetchFailed, MetainfoError)) as caught:
        await diagnose(url)
    text = str(caught.value)
    assert said.replace("URL", url) in text
    assert "\n" not in text
    assert "<" not in text
