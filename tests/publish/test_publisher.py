"""Keeping objects published: what is served, replaced, retried, and left alone."""

import gc
import logging
import weakref
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.errors import (
    BudgetSpent,
    MetainfoError,
    ObjectChanged,
    ObjectMissing,
    OriginFault,
    OriginUnreachable,
    PieceMismatch,
)
from seeder.metainfo.store import MetainfoStore
from seeder.publish import keeper
from seeder.publish.serving import DELETED, LOST, REPLACED, WITHDRAWN
from seeder.torrent.publications import State
from tests.cache.fakes import drop_pieces, get_piece
from tests.metainfo.support import BODY, PIECE, make_torrent
from tests.publish.support import SPENT, World, make_world, settings
from tests.s3.fault_server import FaultServer, Seen, answer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin


async def test_an_object_is_built_served_and_booked(world: World) -> None:
    await world.publisher.apply([settings("key")])
    publication = await world.until("key", State.SERVING)
    assert world.audience.live == [publication.torrent]
    [account] = world.ledger.accounts
    assert account.counters.origin_bytes_hashing == len(BODY)
    assert account.size == len(BODY)


async def test_a_restart_reads_nothing_again(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    await world.publisher.apply([settings("key")])
    before = await world.until("key", State.SERVING)
    server.body_bytes.clear()
    server.requests.clear()
    other = tmp_path / "restarted"
    other.mkdir()
    (tmp_path / "metainfo").rename(other / "metainfo")
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply([settings("key")])
        # Served at once, before S3 was asked for anything.
        assert again.publication("key").state is State.SERVING
        assert before.torrent is not None
        assert again.audience.live[0].info_hash == before.torrent.info_hash
        await again.until_true(lambda: server.requests.total() > 0, "key")
        assert server.requests == {"HEAD key": 1}
        assert not server.body_bytes


async def test_what_s3_tells_of_an_object_may_change_while_its_torrent_stays(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    server.headers["content-type"] = "text/plain"
    await world.publisher.apply([settings("key", refresh=0.05)])
    publication = await world.until("key", State.SERVING)
    torrent = publication.torrent

    def told() -> object:
        assert publication.pinned is not None
        assert publication.pinned.description is not None
        return dict(publication.pinned.description.headers).get("content-type")

    assert told() == "text/plain"
    server.headers["content-type"] = "text/csv"
    await world.until_true(lambda: told() == "text/csv", "key")
    assert publication.torrent is torrent
    assert not world.audience.gone
    store = MetainfoStore(tmp_path / "metainfo")

    def kept() -> bool:
        record = store.recall(publication.ref)
        assert record is not None
        assert publication.pinned is not None
        return record.pinned.description == publication.pinned.description

    await world.until_true(kept, "key")


async def test_what_was_wished_otherwise_is_made_anew(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    await world.publisher.apply([settings("key")])
    await world.until("key", State.SERVING)
    await world.publisher.apply([settings("key", piece_length=32 * 1024)])
    publication = await world.until("key", State.SERVING)
    assert publication.torrent is not None
    assert publication.torrent.layout.piece_length == 32 * 1024
    assert [reason for _, reason in world.audience.gone] == [WITHDRAWN]


@pytest.mark.parametrize("size", [10**18, 2**63 - 1, 2**63])
@pytest.mark.parametrize("more", [{}, {"format": "hybrid"}, {"piece_length": 16 * 1024}])
async def test_an_object_of_an_absurd_size_costs_nobody_else_anything(
    world: World, caplog: pytest.LogCaptureFixture, size: int, more: dict[str, object]
) -> None:
    """All work that grows with the size would have come first: the loop stood still for ever."""
    world.server.objects["huge"] = b"x"
    world.server.sizes["huge"] = size
    wish = [settings("huge", refresh=0.01, metainfo=["build"], **more), settings("key")]
    await world.publisher.apply(wish)
    await world.until("key", State.SERVING)
    publication = await world.until_true(
        lambda: world.publication("huge").reason is not None, "huge"
    )
    assert publication.torrent is None
    assert publication.reason is not None
    assert publication.reason.startswith("bucket/huge: ")
    assert "can't be published" in publication.reason or "no object has" in publication.reason
    assert publication.reason in caplog.text
    assert not world.server.body_bytes["huge"]


async def test_an_overwritten_object_gets_a_new_torrent(world: World) -> None:
    await world.publisher.apply([settings("key", refresh=0.01)])
    old = (await world.until("key", State.SERVING)).torrent
    assert old is not None
    world.server.objects["key"] = BODY[::-1]
    await world.until_true(lambda: len(world.audience.live) == 2, "key")
    assert world.audience.gone == [(old, REPLACED)]
    new = world.publication("key").torrent
    assert new is not None
    assert new.info_hash != old.info_hash
    assert world.catalog.by_hash(old.info_hash) is None


async def test_a_piece_read_that_meets_another_object_retires_the_torrent_at_once(
    world: World,
) -> None:
    await world.publisher.apply([settings("key")])
    old = (await world.until("key", State.SERVING)).torrent
    assert old is not None
    world.server.objects["key"] = BODY[::-1]
    await drop_pieces(world.cache, old.cache_id)
    with pytest.raises(ObjectChanged):
        await get_piece(world.cache, old, 0)
    assert world.audience.gone == [(old, REPLACED)]
    await world.until("key", State.SERVING)
    assert len(world.audience.live) == 2


async def test_a_piece_read_that_meets_no_object_retires_the_torrent_at_once(world: World) -> None:
    await world.publisher.apply([settings("key")])
    old = (await world.until("key", State.SERVING)).torrent
    assert old is not None
    del world.server.objects["key"]
    await drop_pieces(world.cache, old.cache_id)
    with pytest.raises(ObjectMissing):
        await get_piece(world.cache, old, 0)
    await world.until("key", State.FAILED)
    assert world.audience.away == [(old, DELETED)]


async def test_a_deleted_object_ends_its_torrent_and_comes_back_with_a_new_one(
    world: World,
) -> None:
    await world.publisher.apply([settings("key", refresh=0.01)])
    await world.until("key", State.SERVING)
    del world.server.objects["key"]
    publication = await world.until("key", State.FAILED)
    assert [reason for _, reason in world.audience.away] == [DELETED]
    assert "bucket/key" in str(publication.reason)
    world.server.objects["key"] = BODY
    await world.until("key", State.SERVING)


async def test_metainfo_found_to_lie_while_serving_is_replaced_by_a_build(world: World) -> None:
    # No sample can be sure to find one wrong hash; the first read of that piece does.
    spoilt = 23
    world.server.torrents["key"] = make_torrent(spoil=spoilt)
    await world.publisher.apply([settings("key")])
    lying = (await world.until("key", State.SERVING)).torrent
    assert lying is not None
    if lying.rung == "build":
        pytest.skip("the sample found it")
    with pytest.raises(PieceMismatch):
        await get_piece(world.cache, lying, spoilt)
    await world.until_true(lambda: len(world.audience.live) == 2, "key")
    honest = world.publication("key").torrent
    assert honest is not None
    assert honest.rung == "build"
    assert [torrent for torrent, _ in world.audience.gone] == [lying]


async def test_an_origin_that_corrupts_a_piece_makes_its_torrent_faulty_and_no_other(
    world: World,
) -> None:
    world.server.objects["other"] = BODY[::-1]
    await world.publisher.apply([settings("key", piece_length=PIECE), settings("other")])
    torrent = (await world.until("key", State.SERVING)).torrent
    await world.until("other", State.SERVING)
    assert torrent is not None
    await drop_pieces(world.cache, torrent.cache_id)
    world.server.corrupt.add(("key", 5 * PIECE))
    with pytest.raises(PieceMismatch):
        await get_piece(world.cache, torrent, 5)
    publication = world.publication("key")
    assert publication.state is State.FAULTY
    assert "piece 5" in str(publication.reason)
    assert world.publication("other").state is State.SERVING
    assert bytes(await get_piece(world.cache, torrent, 6)) == BODY[6 * PIECE : 7 * PIECE]


async def test_one_objects_trouble_never_touches_the_others(world: World) -> None:
    world.server.refuse.add("secret")
    await world.publisher.apply([settings("secret"), settings("missing"), settings("key")])
    await world.until("key", State.SERVING)
    assert "bucket/secret" in str((await world.until("secret", State.FAILED)).reason)
    assert "bucket/missing" in str((await world.until("missing", State.FAILED)).reason)


async def test_an_unreachable_origin_is_tried_again(world: World, faults: FaultServer) -> None:
    async def vanish(seen: object, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    faults.default = vanish
    await world.publisher.apply([settings("key")])
    publication = await world.until_true(lambda: world.publication("key").reason is not None, "key")
    assert publication.state is State.WAITING
    faults.default = world.server.serve
    await world.until("key", State.SERVING)


async def test_equal_objects_share_one_torrent_and_the_second_takes_over(world: World) -> None:
    world.server.objects["dir/key"] = BODY
    await world.publisher.apply([settings("key"), settings("dir/key")])
    await world.until_true(
        lambda: {p.state for p in world.catalog} == {State.SERVING, State.DUPLICATE}, "key"
    )
    assert len(world.audience.live) == 1
    owner = next(p for p in world.catalog if p.state is State.SERVING)
    other = next(p for p in world.catalog if p.state is State.DUPLICATE)
    await world.publisher.apply([settings(other.ref.key)])
    await world.until(other.ref.key, State.SERVING)
    assert owner.ref not in world.catalog.publications
    assert len(world.audience.live) == 2


async def test_objects_come_and_go_and_the_rest_notices_nothing(world: World) -> None:
    world.server.objects["other"] = b"other"
    await world.publisher.apply([settings("key")])
    torrent = (await world.until("key", State.SERVING)).torrent
    await world.publisher.apply([settings("key", refresh=60.0), settings("other")])
    await world.until("other", State.SERVING)
    assert world.publication("key").torrent is torrent
    await world.publisher.apply([settings("key")])
    assert world.catalog.by_name("bucket", "other") is None
    assert [reason for _, reason in world.audience.gone] == [WITHDRAWN]
    assert world.publication("key").torrent is torrent


async def test_what_is_withdrawn_is_let_go_of_though_no_garbage_is_looked_for(world: World) -> None:
    await world.publisher.apply([settings("key")])
    await world.until("key", State.SERVING)
    await trio.testing.wait_all_tasks_blocked()
    [kept] = map(weakref.ref, world.publisher._keepers._keepers.values())
    gc.disable()
    try:
        await world.publisher.apply([])
        await trio.testing.wait_all_tasks_blocked()
        assert kept() is None
    finally:
        gc.enable()


async def test_an_object_of_which_no_piece_can_be_read_is_faulty_in_one_line(
    world: World, caplog: pytest.LogCaptureFixture, faults: FaultServer
) -> None:
    """Its HEAD is answered all the time. The peers go on asking for pieces."""
    await world.publisher.apply([settings("key")])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None

    async def serve(seen: Seen, stream: trio.abc.Stream) -> None:
        lie = answer(200, BODY, etag=world.server.etag(BODY))
        await (world.server.serve if seen.method == "HEAD" else lie)(seen, stream)

    faults.default = serve
    await drop_pieces(world.cache, torrent.cache_id)
    world.server.requests.clear()
    for _ in range(20):
        for index in range(5):
            with pytest.raises(OriginFault):
                await get_piece(world.cache, torrent, index)
    await world.until_all(lambda: world.server.requests["HEAD key"] > 0)
    await trio.testing.wait_all_tasks_blocked(0.05)
    publication = world.publication("key")
    assert publication.state is State.FAULTY
    assert publication.reason is not None
    assert "does not serve ranges" in publication.reason
    assert world.server.requests == {"HEAD key": 1}
    [told] = [record for record in caplog.records if record.name == "seeder.publish.rounds"]
    assert "does not serve ranges" in told.getMessage()


async def test_an_object_is_served_again_once_its_pieces_can_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "READS_FAIL_FOR", 0.01)
    await world.publisher.apply([settings("key")])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    world.faults.report(torrent, OriginFault("bucket/key: no ranges"))
    assert world.publication("key").state is State.FAULTY
    await world.until("key", State.SERVING)


async def test_a_fault_of_a_torrent_that_is_gone_is_nobodys(world: World) -> None:
    await world.publisher.apply([settings("key")])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    await world.publisher.apply([])
    world.faults.report(torrent, OriginUnreachable("late"))
    assert not world.catalog.publications


# -- without budget


def hashed(world: World) -> int:
    return world.ledger.totals().origin_bytes_hashing


async def test_an_object_waits_for_budget_and_goes_on_by_itself(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.purse.spent = True
    await world.publisher.apply([settings("key", refresh=0.01)])
    publication = await world.until_true(
        lambda: world.server.requests["HEAD key"] > 3 and world.publication("key").reason == SPENT,
        "key",
    )
    assert publication.state is State.WAITING
    assert world.server.requests.total() == world.server.requests["HEAD key"]
    told = [
        record.getMessage() for record in caplog.records if record.name == "seeder.publish.rounds"
    ]
    assert told == [f"bucket/key: {SPENT}"]
    world.purse.spent = False
    world.publisher.wake_waiting()
    await world.until("key", State.SERVING)


async def test_a_build_that_runs_out_of_budget_keeps_what_it_has_hashed(world: World) -> None:
    world.server.gate = trio.Event()
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    await world.until_true(lambda: world.server.requests["GET key"] > 0, "key")
    world.server.objects["more"] = BODY[::-1]
    world.purse.spent = True
    world.server.gate.set()
    # What was under way ends; nothing else begins.
    await world.until_true(lambda: hashed(world) > 0, "key")
    await world.publisher.apply([settings("key", piece_length=PIECE), settings("more")])
    await world.until_true(lambda: world.publication("more").reason == SPENT, "more")
    assert "GET more" not in world.server.requests
    world.purse.spent = False
    world.publisher.wake_waiting()
    await world.until("key", State.SERVING)
    await world.until("more", State.SERVING)
    assert world.server.body_bytes["key"] == len(BODY)


async def test_what_is_served_stays_as_it_is_without_budget_even_for_heads(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.publisher.apply([settings("key", refresh=0.01)])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    world.purse.spent = world.purse.heads_too = True
    await drop_pieces(world.cache, torrent.cache_id)
    with pytest.raises(BudgetSpent):
        await get_piece(world.cache, torrent, 0)
    await world.until_true(lambda: world.purse.refusals > 2, "key")
    asked = world.server.requests["HEAD key"]
    await world.until_true(lambda: world.purse.refusals > 5, "key")
    assert world.server.requests["HEAD key"] == asked
    publication = world.publication("key")
    assert (publication.state, publication.torrent) == (State.SERVING, torrent)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    # The change that it could not see is seen as soon as there is budget.
    world.server.objects["key"] = BODY[::-1]
    world.purse.spent = False
    world.publisher.wake_waiting()
    await world.until_true(lambda: bool(world.audience.gone), "key")


async def test_an_object_withdrawn_while_it_waits_for_budget_is_forgotten(world: World) -> None:
    world.purse.spent = True
    await world.publisher.apply([settings("key")])
    await world.until_true(lambda: world.publication("key").reason == SPENT, "key")
    await world.publisher.apply([])
    world.publisher.wake_waiting()
    assert not list(world.catalog)


# -- metainfo on disk


async def test_served_metainfo_is_on_disk_only_and_comes_back(world: World) -> None:
    await world.publisher.apply([settings("key")])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    assert torrent.at_hand
    world.library.drop(torrent)
    gc.collect()
    assert not torrent.at_hand
    assert (await torrent.fetch_info()).info_hash == torrent.info_hash


async def test_metainfo_that_is_lost_is_made_anew(world: World, tmp_path: Path) -> None:
    await world.publisher.apply([settings("key", metainfo=("build",))])
    torrent = (await world.until("key", State.SERVING)).torrent
    assert torrent is not None
    world.library.drop(torrent)
    gc.collect()
    [path] = (tmp_path / "metainfo").iterdir()
    path.write_bytes(b"damaged")
    # By whoever meets it first: here a read of a piece that isn't cached.
    await drop_pieces(world.cache, torrent.cache_id)
    with pytest.raises(MetainfoError):
        await get_piece(world.cache, torrent, 0)
    assert world.audience.away == [(torrent, LOST)]
    await world.until("key", State.SERVING)
    again = world.publication("key").torrent
    assert again is not None
    assert again.info_hash == torrent.info_hash
    assert world.audience.gone == []
    assert bytes(await get_piece(world.cache, again, 0)) == BODY[: again.layout.piece_length]


def in_states(world: World, states: list[State]) -> bool:
    return sorted(publication.state for publication in world.catalog) == states


async def test_many_duplicates_of_one_object_hand_it_on(world: World) -> None:
    names = [f"{number}/key" for number in range(5)]
    world.server.objects |= dict.fromkeys(names, BODY)
    await world.publisher.apply([settings(name) for name in names])
    for left in range(len(names), 0, -1):
        expected = sorted([State.SERVING] + [State.DUPLICATE] * (left - 1))
        await world.until_all(partial(in_states, world, expected))
        owner = next(p.ref.key for p in world.catalog if p.state is State.SERVING)
        names.remove(owner)
        await world.publisher.apply([settings(name) for name in names])
    assert len(world.audience.live) == 5
