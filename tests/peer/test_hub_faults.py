"""A fault of ours about one peer, met in a task that serves many, ends that peer's connection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.peer.connection import PeerConnection
from seeder.peer.session import Session
from seeder.units import MIB
from seeder.upload import uploads
from seeder.upload.slots import Slots
from tests.peer.node import Node, make_data, serving, wait_until

DATA = make_data(4 * MIB)
OTHER_ID = b"-XX0001-another12345"


def tick(node: Node) -> None:
    node.hub._registry.tick(trio.current_time())


def hold(node: Node) -> None:
    node.uploads.slots.most = 0
    node.uploads.slots.review(trio.current_time() + 60)


def lose(node: Node) -> None:
    node.hub._registry.lose(node.torrent, 0)


def retire(node: Node) -> None:
    node.hub.remove_torrent(node.torrent, "retired")


@pytest.mark.parametrize(
    ("act", "where", "name"),
    [
        (tick, Session, "_keep_deadlines"),
        (hold, PeerConnection, "choke"),
        (lose, PeerConnection, "lose"),
        (retire, PeerConnection, "retire"),
    ],
)
async def test_a_fault_about_one_peer_in_a_task_of_all_spares_the_others(
    act: Callable[[Node], None],
    where: type,
    name: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        async with node.peer(), node.peer(peer_id=OTHER_ID):
            first, second = node.sessions()
            sound, met = getattr(where, name), list[object]()

            def fail(it: Any, *arguments: Any) -> Any:
                met.append(it)
                if it in (first, first.wire):
                    raise KeyError("a bug")
                return sound(it, *arguments)

            monkeypatch.setattr(where, name, fail)
            act(node)
            monkeypatch.setattr(where, name, sound)
            assert len(met) == 2
            assert "internal error" in caplog.text
            await node.wait_closed("internal-error")
            assert second in node.sessions()
        await node.wait_connected(0)
        assert not node.uploads.held.used
        node.watch.broken.clear()  # it was, for a moment, by the fault


async def test_the_clock_of_the_uploads_goes_on_after_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uploads, "TICK", 0.01)
    monkeypatch.setattr("seeder.net.guards.PAUSE", 0.01)
    review, reviews = Slots.review, list[float]()

    def fail_at_first(slots: Slots, now: float) -> None:
        reviews.append(now)
        if len(reviews) < 3:
            raise KeyError("a bug")
        review(slots, now)

    monkeypatch.setattr(Slots, "review", fail_at_first)
    async with serving(tmp_path, (DATA, MIB)):
        await wait_until(lambda: len(reviews) > 5)
    assert caplog.text.count("the upload slots: internal error") == 2
