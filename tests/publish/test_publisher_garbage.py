"""What failed is let go of with all that waited for it, though no garbage is looked for.

An error has the frames that it passed through; whoever keeps it in one of them makes a circle.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio.testing

from seeder.config.objects import ObjectSettings
from seeder.errors import SeederError
from seeder.publish import rounds
from seeder.torrent.publications import State
from tests.publish.support import World, settings
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import make_torrent


def deny(server: ObjectsServer) -> None:
    server.refuse = {"key"}


def lose(server: ObjectsServer) -> None:
    server.objects.clear()


def fall(server: ObjectsServer) -> None:
    server.down = (503, b"")


def mistake_the_signer(server: ObjectsServer) -> None:
    server.down = (403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")


def lie(server: ObjectsServer) -> None:
    """Have metainfo that is of another object, and bytes that come otherwise each time."""
    body = server.objects["key"]
    server.torrents["key"] = make_torrent(bytes(len(body)), name="key", piece_length=65536).file()
    server.corrupt = {("key", 10)}


def shrink(server: ObjectsServer) -> None:
    server.head_sizes["key"] = 10 * len(server.objects["key"])


def no_fault(_: ObjectsServer) -> None:
    """Only what we can do without is missing: a sidecar, attributes."""


FAULTS = (no_fault, deny, lose, fall, mistake_the_signer, lie, shrink)


def errors() -> list[SeederError]:
    return [each for each in gc.get_objects() if isinstance(each, SeederError)]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("bundle", [False, True], ids=["object", "bundle"])
async def test_no_error_is_kept_by_itself(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: Callable[[ObjectsServer], None],
    bundle: bool,
) -> None:
    monkeypatch.setattr(rounds, "FIRST_RETRY", 0.01)
    fault(world.server)
    one = settings("key")
    below = ObjectSettings.model_validate({"bucket": "bucket", "prefix": "k", "bundle": True})
    with without_garbage_collection():
        before = set(map(id, others := errors()))  # of other tests, which go on being kept
        await world.publisher.apply([below if bundle else one])
        await world.until_all(
            lambda: all(
                each.state is State.SERVING or each.reason is not None for each in world.catalog
            )
        )
        await trio.testing.wait_all_tasks_blocked(0.02)
        await world.publisher.apply([])
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert [each for each in errors() if id(each) not in before] == []
        del others
