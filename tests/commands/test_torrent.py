"""`seeder torrent` and `seeder magnet`: what they make, book and leave behind."""

import json
import re
import signal
from functools import partial
from pathlib import Path

import pytest
import trio
from bencode2 import bdecode

from seeder.config.load import load
from seeder.daemon import run as daemon
from tests.commands.support import (
    BODY,
    PIECE_LENGTH,
    PROGRAM,
    Result,
    Site,
    environment,
    seeder,
    with_budget,
    write_prefixes,
)
from tests.support.objects import make_torrent
from tests.support.raw_peer import BLOCK, PIECE, UNCHOKE, RawPeer, request


async def test_torrent_writes_what_the_object_is(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "Nelson.torrent"
    result = await seeder("torrent", "-c", site.path, "quotes/Nelson", "-o", output)
    assert (result.code, result.out) == (0, b"")
    made = bdecode(output.read_bytes())
    own = make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH)
    assert made[b"announce"] == b"http://127.0.0.1:6969/announce"
    assert own.info in output.read_bytes()
    assert result.line == f"{output}: {own.info_hash.hex()}, 2.00 MiB, metainfo from build"
    assert site.store.body_bytes["Nelson"] == len(BODY)

    again = await seeder("torrent", "-c", site.path, "quotes/Nelson")
    assert again == Result(0, output.read_bytes(), "")
    assert site.store.body_bytes["Nelson"] == len(BODY)


async def test_with_a_web_seed_torrent_and_magnet_name_it(site: Site) -> None:
    path = trio.Path(site.path)
    await path.write_text(f"{await path.read_text()}[gateway]\nweb_seed = true\n")
    made = bdecode((await seeder("torrent", "-c", site.path, "quotes/Nelson")).out)
    assert made[b"url-list"] == [b"http://127.0.0.1:6969/quotes/Nelson"]
    link = (await seeder("magnet", "-c", site.path, "quotes/Nelson")).out
    assert b"&ws=http%3A%2F%2F127.0.0.1%3A6969%2Fquotes%2FNelson&" in link


async def test_without_a_daemon_magnet_books_what_it_reads_and_warms_the_cache(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await seeder("magnet", "-c", site.path, "quotes/Nelson")
    own = make_torrent(BODY, name="Nelson", piece_length=PIECE_LENGTH)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode() == (
        f"magnet:?xt=urn:btih:{own.info_hash.hex()}&dn=Nelson"
        f"&tr=http%3A%2F%2F127.0.0.1%3A6969%2Fannounce&x.pe={site.peer}\n"
    )
    report = await seeder("report", "-c", site.path, "--json")
    document = json.loads(report.out)
    totals, [torrent] = document["totals"], document["torrents"]
    assert (torrent["info_hash"], torrent["size"]) == (own.info_hash.hex(), len(BODY))
    assert totals["origin_bytes_by_purpose"]["hashing"] == len(BODY)
    assert totals["origin_requests"] == sum(site.store.requests.values())

    read = site.store.body_bytes.copy()
    async with trio.open_nursery() as nursery:
        node = await nursery.start(daemon.serve, load(site.path))
        with trio.fail_after(60):
            assert await trio.to_thread.run_sync(last_block, site.peer, own.info_hash)
        assert node.foundation.ledger.totals().origin_bytes >= len(BODY)
        nursery.cancel_scope.cancel()
    assert site.store.body_bytes["Nelson"] == read["Nelson"]


def last_block(address: str, info_hash: bytes) -> bool:
    """Tell whether a seeder sends the last whole block of the object as it is."""
    index = len(BODY) // PIECE_LENGTH - 1
    host, _, port = address.partition(":")
    with RawPeer(host, (host, int(port))) as peer:
        peer.greet(info_hash)
        peer.wait_for(UNCHOKE)
        peer.send(request(index))
        start = index * PIECE_LENGTH
        return peer.wait_for(PIECE)[8:] == BODY[start : start + BLOCK]


async def test_a_hybrid_whose_hashes_on_disk_are_damaged_is_made_anew(site: Site) -> None:
    text = site.path.read_text()
    site.path.write_text(text.replace('"64 KiB"', '"64 KiB"\nformat = "hybrid"', 1))
    known = await seeder("torrent", "-c", site.path, "quotes/Nelson")
    [tree] = (site.state / "metainfo").glob("*.tree")
    data = bytearray(tree.read_bytes())
    data[-33] ^= 1
    data[64 + 32 * -(-len(BODY) // BLOCK) + 9] ^= 1
    tree.write_bytes(data)
    again = await seeder("torrent", "-c", site.path, "quotes/Nelson")
    assert (again.code, again.out) == (0, known.out)
    assert "its piece layer on disk is damaged; it is made anew" in again.err
    last = await seeder("torrent", "-c", site.path, "quotes/Nelson")
    assert last == known


async def test_a_torrent_is_made_within_the_budget_too(site: Site) -> None:
    with_budget(site.path, f'origin_bytes_per_day = "{len(BODY)} B"')
    assert (await seeder("magnet", "-c", site.path, "quotes/Nelson")).code == 0
    # That it was read is in the ledger, and another process keeps to it.
    site.store.body_bytes.clear()
    refused = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    assert (refused.code, refused.out) == (1, b"")
    assert refused.line.startswith(f'budget.origin_bytes_per_day = "{len(BODY)} B" is spent')
    assert not site.store.body_bytes
    known = await seeder("magnet", "-c", site.path, "quotes/Nelson")
    assert (known.code, known.err) == (0, "")


async def test_beside_a_daemon_a_known_torrent_is_given_and_none_is_made(
    site: Site, tmp_path: Path
) -> None:
    known = await seeder("torrent", "-c", site.path, "quotes/Hardy")
    site.server.default = site.store.serve
    async with trio.open_nursery() as nursery:
        # Only the state directory matters: a daemon of another configuration holds it.
        other = tmp_path / "other.toml"
        other.write_text(site.path.read_text().replace('"Nelson"', '"Lady"'))
        await nursery.start(daemon.serve, load(other))
        assert await seeder("torrent", "-c", site.path, "quotes/Hardy") == known
        made = await seeder("torrent", "-c", site.path, "quotes/Nelson")
        assert (made.code, made.out) == (1, b"")
        assert made.line.startswith("quotes/Nelson: has no torrent yet")
        assert "another seeder is using it" in made.line
        nursery.cancel_scope.cancel()


async def test_a_known_torrent_is_given_while_s3_is_away(site: Site) -> None:
    known = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    site.path.write_text(
        re.sub(r"127\.0\.0\.1:\d+\"\n", '127.0.0.1:1"\n', site.path.read_text(), count=1)
    )
    result = await seeder("magnet", "-c", site.path, "quotes/Hardy")
    assert (result.code, result.out) == (0, known.out)
    assert "the state last seen" in result.line


async def test_the_torrent_of_an_object_below_a_prefix_is_found_by_its_key(site: Site) -> None:
    write_prefixes(site, "speeches/")
    site.store.objects["speeches/a b"] = b"hear"
    result = await seeder("magnet", "-c", site.path, "quotes/speeches/a b")
    assert (result.code, result.err) == (0, "")
    assert "dn=a%20b" in result.out.decode()
    result = await seeder("torrent", "-c", site.path, "quotes/speeches/c")
    assert (result.code, result.out) == (1, b"")
    assert "NoSuchKey" in result.line


async def test_a_file_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "nowhere" / "x.torrent"
    result = await seeder("torrent", "-c", site.path, "quotes/Hardy", "-o", output)
    assert (result.code, result.out) == (1, b"")
    assert result.line == f"{output}: can't be written: No such file or directory"


async def test_an_interrupted_torrent_leaves_its_progress_and_no_traceback(
    site: Site, tmp_path: Path
) -> None:
    site.store.gate = trio.Event()
    words = [*PROGRAM, "torrent", "-c", str(site.path), "quotes/Nelson"]
    path = tmp_path / "printed"
    # Whatever fails here, the program ends with the nursery.
    with path.open("wb") as output:
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    words,
                    stdout=output,
                    stderr=output,
                    env=environment(),
                    check=False,
                )
            )
            with trio.fail_after(30):
                while not site.store.requests["GET Nelson"]:
                    await trio.lowlevel.checkpoint()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
    assert path.read_bytes() == b""
