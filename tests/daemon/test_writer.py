"""Who wrote a torrent beside an object: ours is known after a move and a loss, nobody else's."""

import errno
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from seeder.config.node import CacheSettings, ClusterSettings
from seeder.config.sections import Config
from seeder.daemon.writer import WRITER, Writer, writer_of
from seeder.errors import StorageError
from seeder.plain_json import dump_json
from seeder.s3.small_objects import SmallObject
from seeder.torrent.objects import ObjectRef
from seeder.units import HOUR
from tests.support.disks import DAMAGE, NOT_FILES, failing_disk

REF = ObjectRef("default", "quotes", "d/Nelson.torrent")
BODY = b"d4:infod6:lengthi1eee"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "At":
    return At(tmp_path, monkeypatch)


class At:
    """Makes the writer of a configuration, on a host."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._patch = monkeypatch

    def __call__(
        self, host: str, state: str = "state", name: str | None = None, store: str | None = None
    ) -> Writer:
        self._patch.setattr(socket, "gethostname", lambda: host)
        config = Config(
            state_directory=self.directory / state,
            sidecar_writer=name,
            origins={},
            objects=(),
            cache=CacheSettings(directory=self.directory),
            cluster=ClusterSettings(store=store),
        )
        return writer_of(config)

    def lose(self, state: str = "state", *, hours_ago: int = 0) -> None:
        """Have the state directory begin anew, some hours ago."""
        (self.directory / state / WRITER).unlink()
        if hours_ago:
            since = int(time.time()) - hours_ago * HOUR
            made = {"writer": f"anew {hours_ago}", "since": since}
            (self.directory / state / WRITER).write_bytes(dump_json(made))


def written(writer: Writer, ago: float = 0.0) -> SmallObject:
    """Return what S3 tells of a file that somebody wrote."""
    return SmallObject(BODY, '"tag"', writer.mark(REF, BODY), int(time.time() - ago))


def test_it_is_known_on_another_host_by_its_state(at: At) -> None:
    # As a container is that has another host's name at each start, and keeps its state.
    there = written(at("4f1d2c"))
    assert at("9be001").wrote(REF, there)


def test_it_is_known_by_host_and_directory_when_the_state_is_lost(at: At) -> None:
    there = written(at("host"))
    at.lose()
    assert at("host").wrote(REF, there)


def test_it_is_known_by_its_name_wherever_it_runs_and_whatever_is_lost(at: At) -> None:
    there = written(at("4f1d2c", name="archive"))
    at.lose()
    assert at("9be001", name="archive").wrote(REF, there)
    assert not at("9be001").wrote(REF, there)
    assert not at("9be001", name="other").wrote(REF, there)


def test_what_it_wrote_before_it_had_a_name_or_a_cluster_is_its_own(at: At) -> None:
    alone = written(at("host"))
    assert at("other", name="archive").wrote(REF, alone)
    assert at("other", store="redis://redis").wrote(REF, alone)
    together = written(at("host", store="redis://redis"))
    assert at("host", name="archive", store="redis://redis").wrote(REF, together)


def test_the_nodes_of_a_cluster_are_one_writer(at: At) -> None:
    there = written(at("one", "state-1", store="redis://redis"))
    assert at("two", "state-2", store="redis://redis").wrote(REF, there)
    assert not at("two", "state-2", store="redis://other").wrote(REF, there)
    assert not at("three", "state-3").wrote(REF, there)


def test_two_installations_are_two_writers(at: At) -> None:
    one, other = at("one", "state-1"), at("two", "state-2")
    assert not one.wrote(REF, written(other))
    assert not other.wrote(REF, written(one))


def test_two_with_the_same_host_name_and_directory_are_two_writers_from_the_first_write_on(
    at: At,
) -> None:
    # As pods of one name in two clusters are.
    first = at("seeder-0")
    at.lose(hours_ago=48)
    one = at("seeder-0")
    at.lose(hours_ago=24)
    other = at("seeder-0")
    assert one.since < other.since < first.since
    # The younger one can't know that its state wasn't lost, the elder one can.
    assert other.wrote(REF, written(one, ago=30 * HOUR))
    assert not one.wrote(REF, written(other))
    assert not other.wrote(REF, written(one))


def test_one_of_an_earlier_version_is_known_by_its_only_mark(at: At) -> None:
    writer = at("host")
    there = written(writer, ago=HOUR)
    assert there.mark is not None
    [_, place] = there.mark.split()
    assert writer.wrote(REF, replace(there, mark=place))
    assert not at("other", "state-2").wrote(REF, replace(there, mark=place))


@pytest.mark.parametrize(
    "change",
    [{"body": BODY + b" "}, {"mark": None}, {"mark": ""}, {"mark": "0" * 64}, {"mark": "* x y"}],
)
def test_what_is_otherwise_than_it_was_written_is_not_ours(
    at: At, change: dict[str, object]
) -> None:
    writer = at("host")
    assert not writer.wrote(REF, replace(written(writer), **change))  # type: ignore[arg-type]
    elsewhere = ObjectRef("default", "quotes", "d/Hardy.torrent")
    assert not writer.wrote(elsewhere, written(writer))


@pytest.mark.parametrize(
    "damage", [*DAMAGE.values(), *NOT_FILES.values()], ids=[*DAMAGE, *NOT_FILES]
)
def test_a_damaged_file_of_the_state_is_made_anew(at: At, damage: object) -> None:
    there = written(at("host"))
    damage(at.directory / "state" / WRITER)  # type: ignore[operator]
    again = at("host")
    assert again.wrote(REF, there)
    assert at("elsewhere").signs[0] == again.signs[0]
    assert not at("elsewhere").wrote(REF, there)


def test_a_state_that_cannot_be_written_is_told(at: At) -> None:
    (at.directory / "state").mkdir()
    with failing_disk(errno.EROFS, at.directory / "state"), pytest.raises(StorageError) as told:
        at("host")
    assert WRITER in str(told.value)
