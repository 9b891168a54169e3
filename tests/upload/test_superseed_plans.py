"""Super-seeding on real sockets: what peers are told, what they may ask for, and how it ends."""

import random
from pathlib import Path

import pytest
import trio

from seeder.peer import messages
from seeder.peer.messages import Block, MessageId
from seeder.torrent.layout import Layout, bitfield_indices
from seeder.upload.plans import FEWEST_PIECES, PARTS, SuperSeeds
from tests.peer.node import Node, Peer, serving
from tests.peer.wire import greeting, request_message

PIECE = 16 * 1024
PIECES = 40
DATA = random.Random(9).randbytes(PIECES * PIECE)
WINDOW_OF_ONE = PIECES // PARTS
SMALL = 8 * PIECE
"""A cache that holds 8 pieces: windows of 6 together, once there are several."""


async def arrive(node: Node, peer: Peer, name: bytes, *, fast: bool = True) -> None:
    hello = greeting(
        fast=fast, extended=False, info_hash=node.torrent.info_hash, peer=name.ljust(20)
    )
    await peer.send(hello)
    await peer.read_exactly(68)


async def shown(peer: Peer, count: int) -> list[int]:
    """Read HAVEs, and nothing else."""
    found = [await peer.read() for _ in range(count)]
    assert {message.id for message in found} == {MessageId.HAVE}
    return [message.index() for message in found]


async def opened(peer: Peer, count: int) -> list[int]:
    """Read what opens a session with a peer that has the fast extension: all before the unchoke."""
    assert (await peer.read()).id == MessageId.HAVE_NONE
    found = await shown(peer, count)
    assert (await peer.read()).id == MessageId.UNCHOKE
    return found


async def opened_by_bitfield(peer: Peer) -> list[int]:
    """Read what opens a session with any other peer."""
    first = await peer.read()
    assert first.id == MessageId.BITFIELD
    assert (await peer.read()).id == MessageId.UNCHOKE
    return list(bitfield_indices(first.payload, PIECES))


async def get(peer: Peer, index: int) -> bytes:
    block: Block = (index, 0, PIECE)
    await peer.request(block)
    answered, data = await peer.read_block()
    assert answered == block
    return data


@pytest.mark.parametrize("talks", [True, False])
async def test_a_peer_sees_an_empty_seed_that_gets_piece_after_piece(
    tmp_path: Path, talks: bool
) -> None:
    # librqbit tells a peer that has it all of nothing that it has got.
    objects = (DATA, PIECE)
    async with (
        serving(tmp_path, objects, memory=SMALL, super_seeding=True) as node,
        Peer.connect(node.address) as peer,
    ):
        await arrive(node, peer, b"one")
        known = await opened(peer, WINDOW_OF_ONE)
        got: dict[int, bytes] = {}
        while len(got) < PIECES:
            index = known[len(got)]
            got[index] = await get(peer, index)
            if len(known) < PIECES:
                # Right behind the piece. The last two come together.
                known += await shown(peer, 2 if len(known) == PIECES - 2 else 1)
            if talks:
                await peer.send(messages.have(index))
        assert b"".join(got[index] for index in range(PIECES)) == DATA


async def test_nobody_is_unchoked_before_there_is_anything_to_want(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), super_seeding=True) as node,
        Peer.connect(node.address) as fast,
        Peer.connect(node.address) as slow,
    ):
        node.super_seeds.show_only_held(True)
        for peer, is_fast in ((fast, True), (slow, False)):
            await arrive(node, peer, b"fast" if is_fast else b"slow", fast=is_fast)
        assert (await fast.read()).id == MessageId.HAVE_NONE
        await node.warm(3, 5)
        node.super_seeds.show_only_held(True)
        for peer in (fast, slow):
            # Too late for a bitfield.
            assert sorted(await shown(peer, 2)) == [3, 5]
            assert (await peer.read()).id == MessageId.UNCHOKE


async def test_what_was_not_shown_is_rejected(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), memory=SMALL, super_seeding=True) as node,
        Peer.connect(node.address) as peer,
    ):
        await arrive(node, peer, b"one")
        known = await opened(peer, WINDOW_OF_ONE)
        hidden = next(index for index in range(PIECES) if index not in known)
        await peer.request((hidden, 0, 10), (known[0], 0, 10))
        answers = [await peer.read(), await peer.read()]
        assert messages.reject([(hidden, 0, 10)]).endswith(answers[0].payload)
        assert answers[1].id == MessageId.PIECE


async def test_two_peers_are_shown_different_pieces(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), super_seeding=True, memory=2**30) as node,
        Peer.connect(node.address) as one,
        Peer.connect(node.address) as two,
    ):
        await arrive(node, one, b"one", fast=False)
        known = await opened_by_bitfield(one)
        await arrive(node, two, b"two", fast=False)
        others = await opened_by_bitfield(two)
        assert len(known) == len(others) == WINDOW_OF_ONE
        assert not set(known) & set(others)


async def test_the_windows_of_several_peers_fit_the_cache(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), super_seeding=True, memory=SMALL) as node,
        Peer.connect(node.address) as one,
        Peer.connect(node.address) as two,
    ):
        await arrive(node, one, b"one", fast=False)
        assert len(await opened_by_bitfield(one)) == WINDOW_OF_ONE
        await arrive(node, two, b"two", fast=False)
        assert len(await opened_by_bitfield(two)) == 3
        # Its request is answered next: nothing else was shown.
        await two.request((PIECES - 1, 0, 0))
        await two.send(messages.message(MessageId.INTERESTED))
        assert not two.arrived


async def test_who_comes_when_the_others_have_everything_sees_a_seed(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), super_seeding=True) as node,
        Peer.connect(node.address) as one,
        Peer.connect(node.address) as late,
    ):
        await arrive(node, one, b"one")
        await one.send(*(messages.have(index) for index in range(PIECES - 1)))
        [first, *_] = await opened(one, WINDOW_OF_ONE)
        await one.send(messages.have(PIECES - 1), request_message((first, 0, 10)))
        while (await one.read()).id != MessageId.PIECE:
            pass  # more pieces were shown meanwhile
        await arrive(node, late, b"late")
        assert (await late.read()).id == MessageId.HAVE_ALL


@pytest.mark.parametrize("enabled", [True, False])
async def test_while_s3_is_not_read_peers_are_shown_what_is_cached(
    tmp_path: Path, enabled: bool
) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), memory=SMALL, super_seeding=enabled) as node,
        Peer.connect(node.address) as late,
        Peer.connect(node.address) as last,
    ):
        await node.warm(3, 5, 39)
        node.super_seeds.show_only_held(True)
        await arrive(node, late, b"late")
        assert sorted(await opened(late, 3)) == [3, 5, 39]
        assert await get(late, 39) == DATA[39 * PIECE :]
        await late.request((4, 0, 10))
        assert (await late.read()).id == MessageId.REJECT
        await node.warm(4)
        node.super_seeds.tick(trio.current_time())
        assert await shown(late, 1) == [4]
        await late.send(messages.have(39))
        # Nothing else is shown, however long it gets nothing.
        node.super_seeds.tick(trio.current_time() + 1000)

        node.super_seeds.show_only_held(False)
        if enabled:
            node.super_seeds.tick(trio.current_time())
            # Those of the window that it knows already aren't shown again.
            assert not {3, 4, 5, 39} & set(await shown(late, WINDOW_OF_ONE - 3))
        else:
            assert {3, 4, 5, 39, *await shown(late, PIECES - 4)} == set(range(PIECES))
        await arrive(node, last, b"last")
        expected = MessageId.HAVE_NONE if enabled else MessageId.HAVE_ALL
        assert (await last.read()).id == expected


async def test_who_was_shown_a_window_is_shown_what_is_cached_beside_it(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE), memory=SMALL, super_seeding=True) as node,
        Peer.connect(node.address) as peer,
    ):
        await node.warm(7)
        await arrive(node, peer, b"one")
        known = await opened(peer, WINDOW_OF_ONE)
        assert 7 in known
        rest = sorted(set(range(PIECES)) - set(known))[:4]
        await node.warm(*rest)
        node.super_seeds.show_only_held(True)
        assert sorted(await shown(peer, len(rest))) == rest


def test_nothing_is_hidden_where_there_is_another_seed_or_little_to_spread() -> None:
    class Torrent:
        info_hash = b"h" * 20
        cache_id = "id"

        def __init__(self, pieces: int) -> None:
            self.layout = Layout(pieces * PIECE, PIECE)

    def super_seeds(seeds: int, *, enabled: bool = True) -> SuperSeeds:
        return SuperSeeds(
            enabled=enabled,
            other_seeds=lambda _: seeds,
            cache_bytes=2**30,
            held=lambda _: frozenset(),
            rng=random.Random(1),
        )

    assert super_seeds(0).hides(Torrent(FEWEST_PIECES))
    assert not super_seeds(0).hides(Torrent(FEWEST_PIECES - 1))
    assert not super_seeds(1).hides(Torrent(FEWEST_PIECES))
    assert not super_seeds(0, enabled=False).hides(Torrent(FEWEST_PIECES))
