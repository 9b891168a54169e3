"""The status page's list of objects: what it finds, in which order, and how much at a time."""

import random
from typing import Any

import pytest
import trio

from seeder.admin.accounts import Accounts
from seeder.admin.table import Table
from seeder.admin.view import View, name_of
from seeder.ledger.counters import FORMER, AccountKey, Ledger
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms

MANY = 10_000


def made(*names: str) -> Table:
    """Return the table of objects in one bucket, each as large as its place, in the order given."""
    catalog, ledger = Catalog(), Ledger()
    swarms = Swarms(SwarmPolicy(), OwnSeeder(1), rng=random.Random(1))
    for place, name in enumerate(names):
        ref = ObjectRef("default", "bucket", name)
        publication = Publication(ref, state=State.SERVING)
        publication.pinned = PinnedObject(ref, '"e"', place)
        catalog.add(publication)
    return Table(Accounts(ledger, catalog, swarms))


def account_of(table: Table, name: str) -> Publication:
    found = table.accounts.catalog.by_name("bucket", name)
    assert found is not None
    return found


async def names(table: Table, **view: Any) -> list[str]:
    return [row["object"][2] for row in (await rows(table, **view))]


async def rows(table: Table, **view: Any) -> list[Any]:
    document = await table.rows(View(**view))
    shown = document["rows"]
    assert isinstance(shown, list)
    return shown


async def test_objects_are_sorted_by_what_is_asked_for_the_largest_first() -> None:
    table = made("b", "a", "c")
    for name, uploaded in (("a", 7), ("b", 9), ("c", 8)):
        account = table.accounts.account(account_of(table, name))
        account.uploaded(uploaded)
        account.delivered_verified(uploaded * 2)
        account.origin_received("pieces", 3 * uploaded)
        account.peers = -uploaded
    assert await names(table, order="name") == ["a", "b", "c"]
    assert await names(table, order="name", reverse=True) == ["c", "b", "a"]
    assert await names(table, order="size") == ["c", "a", "b"]
    assert await names(table, order="size", reverse=True) == ["b", "a", "c"]
    for order in ("uploaded_bytes", "delivered_verified_bytes", "origin_bytes"):
        assert await names(table, order=order) == ["b", "c", "a"]
    assert await names(table, order="saved_verified_bytes") == ["a", "c", "b"]
    assert await names(table, order="peers") == ["a", "c", "b"]


async def test_what_is_in_trouble_or_at_work_comes_first() -> None:
    table = made("quiet", "busy", "failed", "building")
    account_of(table, "failed").state = State.FAILED
    account_of(table, "building").state = State.BUILDING
    table.accounts.account(account_of(table, "busy")).uploaded(5)
    assert (await names(table))[2:] == ["busy", "quiet"]
    assert await names(table, state="failed") == ["failed"]
    assert await names(table, state="serving", order="name") == ["busy", "quiet"]
    assert await names(table, state="no state") == []


async def test_a_search_finds_parts_of_names_and_info_hashes() -> None:
    table = made("data/Winter.csv", "data/summer.csv", "images/winter.png")
    table.accounts.account(account_of(table, "data/summer.csv")).info_hash = "00ff" * 10
    assert await names(table, search="winter", order="name") == [
        "data/Winter.csv",
        "images/winter.png",
    ]
    assert await names(table, search="bucket/data", order="size") == [
        "data/summer.csv",
        "data/Winter.csv",
    ]
    assert await names(table, search="ff00ff") == ["data/summer.csv"]
    assert await names(table, search="autumn") == []


async def test_a_page_is_some_of_the_rows_and_says_how_many_there_are() -> None:
    table = made(*(f"{number:03}" for number in range(120)))
    document = await table.rows(View(order="name", rows=50, first=100))
    assert (document["total"], document["first"]) == (120, 100)
    assert await names(table, order="name", rows=50, first=100) == [
        f"{n:03}" for n in range(100, 120)
    ]
    gone = await table.rows(View(order="name", rows=50, first=5000))
    assert gone["first"] == 100
    empty = await made().rows(View(first=50))
    assert empty == {"total": 0, "first": 0, "rows": []}


async def test_what_is_published_no_more_is_former_as_long_as_something_was_counted() -> None:
    table = made("here")
    ledger = table.accounts.ledger
    ledger.account(AccountKey("default", "bucket", "gone", "v1")).uploaded(5)
    ledger.account(AccountKey("default", "bucket", "never", "v1"))
    [former] = await rows(table, state=FORMER)
    assert former["object"] == ["default", "bucket", "gone", "v1"]
    assert (former["published"], former["uploaded_bytes"]) == (False, 5)
    snapshot = await table.snapshot()
    assert (snapshot.states[FORMER], snapshot.states[State.SERVING]) == (1, 1)


async def test_two_objects_of_one_account_count_once() -> None:
    table = made("one")
    again = Publication(ObjectRef("default", "bucket", "one", "v"), state=State.SERVING)
    again.pinned = PinnedObject(ObjectRef("default", "bucket", "one"), '"e"', 0)
    table.accounts.catalog.add(again)
    table.accounts.account(again).uploaded(5)
    assert sorted(row["uploaded_bytes"] for row in await rows(table)) == [0, 5]
    assert [name_of(again.ref)] == [
        row["object"] for row in await rows(table, order="uploaded_bytes", reverse=True)
    ][:1]


@pytest.mark.parametrize("view", [View(), View(order="name", first=9950), View(search="77")])
async def test_other_tasks_run_while_thousands_of_objects_are_looked_at(view: View) -> None:
    table = made(*(f"{number:05}" for number in range(MANY)))
    turns = 0
    async with trio.open_nursery() as nursery:

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(other)
        await table.rows(view)
        nursery.cancel_scope.cancel()
    assert turns >= 2 * MANY // 250
