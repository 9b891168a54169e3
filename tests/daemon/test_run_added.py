"""What is added at run time: published beside the file's entries, kept over restart and reload."""

from pathlib import Path

import pytest
import trio

from seeder.commands.loading import all_published
from seeder.commands.torrent import configured
from seeder.config.added import ADDED, EntryName, WrittenEntry, explain_added
from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.errors import ConfigError, EntryConflict, StorageError
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.commands.control.support import seeder
from tests.daemon.support import BODY, serving, until
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer


def entry(key: str = "Hardy", **more: object) -> WrittenEntry:
    return {"bucket": "quotes", "key": key, "metainfo": ["build"], **more}


def named(key: str = "Hardy") -> EntryName:
    return EntryName(ObjectRef("default", "quotes", key), False)


@pytest.fixture
def store(faults: FaultServer) -> ObjectsServer:
    made = ObjectsServer(objects={"Nelson": BODY, "Hardy": b"Kiss me" * 10_000})
    faults.default = made.serve
    return made


def state(node: Node, key: str = "Hardy") -> State | None:
    found = node.catalog.by_name("quotes", key)
    return None if found is None else found.state


async def until_served(node: Node, *keys: str) -> None:
    wanted = {(each, State.SERVING) for each in keys}
    await until(lambda: {(each.ref.key, each.state) for each in node.catalog} == wanted)


async def test_an_added_object_is_published_and_kept_until_it_is_removed(config: Config) -> None:
    async with serving(config) as node:
        assert await node.additions.add(entry()) == (named(), True)
        assert await node.additions.add(entry()) == (named(), False)
        await until_served(node, "Nelson", "Hardy")
    async with serving(config) as node:
        await until_served(node, "Nelson", "Hardy")
        torrent = node.publisher.torrent_of(named().ref)
        assert torrent is not None
        assert await node.additions.remove(named())
        assert not await node.additions.remove(named())
        assert state(node) is None
        assert node.catalog.by_hash(torrent.info_hash) is None
    async with serving(config) as node:
        await until_served(node, "Nelson")


async def test_a_start_and_a_reload_warn_of_a_bundle_that_gives_away_what_was_added(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(config) as node:
        await node.additions.add(entry(publish_at="2999-01-01T00:00:00Z"))
    with file.open("a") as lines:
        lines.write('[[objects]]\nbucket = "quotes"\nprefix = ""\nbundle = true\n')
    line = "objects[1]: the bundle quotes/ has quotes/Hardy in it, too"
    async with serving(load(file)) as node:
        assert [each.startswith(line) for each in caplog.messages].count(True) == 1
        await reload(node, file)
        assert [each.startswith(line) for each in caplog.messages].count(True) == 2
    told = (await seeder("check", "-c", file)).out.decode()
    assert f"warning: {line}" in told
    assert "quotes/Hardy: published at 2999-01-01" in told


async def test_a_reload_keeps_what_was_added(config: Config, file: Path) -> None:
    async with serving(config) as node:
        await node.additions.add(entry())
        await until_served(node, "Nelson", "Hardy")
        await reload(node, file)
        await until_served(node, "Nelson", "Hardy")


async def test_the_file_s_entry_counts_until_it_goes(config: Config, file: Path) -> None:
    path = trio.Path(file)
    text = await path.read_text()
    both = text + '\n[[objects]]\nbucket = "quotes"\nkey = "Hardy"\nmetainfo = ["build"]\n'
    async with serving(config) as node:
        await node.additions.add(entry(refresh="1h"))
        await path.write_text(both)
        await reload(node, file)
        assert node.additions.source_of(named()) == "file"
        assert node.additions.is_shadowed(named())
        found = node.publisher.settings_of(named().ref)
        assert found is not None
        assert found.refresh == 600.0
        assert "`seeder rm` ends" in "".join(explain_added(load(file)))
        with pytest.raises(EntryConflict, match="is in the environment"):
            await node.additions.add(entry())
        with pytest.raises(EntryConflict, match="change it where it is written"):
            await node.additions.change(named(), {"refresh": "2h"})
        await path.write_text(text)
        await reload(node, file)
        assert node.additions.source_of(named()) == "added"
        found = node.publisher.settings_of(named().ref)
        assert found is not None
        assert found.refresh == 3600.0


async def test_an_entry_is_changed_as_a_merge_patch_says(config: Config) -> None:
    async with serving(config) as node:
        await node.additions.add(entry(refresh="1h", private=True))
        await node.additions.change(named(), {"refresh": None, "private": False})
        found = node.publisher.settings_of(named().ref)
        assert found is not None
        assert (found.refresh, found.private) == (600.0, False)
        for patch in ({"key": "other"}, {"refresh": "never"}, {"format": "v3"}):
            with pytest.raises(ConfigError):
                await node.additions.change(named(), patch)
        with pytest.raises(EntryConflict, match="with other settings"):
            await node.additions.add(entry(refresh="1h"))
        assert node.publisher.settings_of(named().ref) == found


async def test_what_cannot_be_kept_is_not_published(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    async with serving(config) as node:
        with monkeypatch.context() as patch:
            patch.setattr("seeder.config.added.AddedFile.append", full)
            with pytest.raises(StorageError):
                await node.additions.add(entry())
        assert state(node) is None
        assert node.additions.find(named()) is None
        assert await node.additions.add(entry()) == (named(), True)


async def test_one_bad_entry_is_said_and_kept_and_the_others_go_on(
    config: Config, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = {**config.origins, "other": config.origins["default"]}
    async with serving(config.model_copy(update={"origins": more})) as node:
        await node.additions.add(entry(origin="other"))
        await node.additions.add(entry("Nelson2"))
    kept = (config.state_directory / ADDED).read_bytes()
    async with serving(config) as node:
        await until(lambda: state(node, "Nelson2") is State.FAILED)
        assert state(node) is None
        assert "Hardy, which was added, is not published: objects[0].origin" in caplog.text
        assert [each.name.ref.key for each in node.additions.unfit()] == ["Hardy"]
    assert (config.state_directory / ADDED).read_bytes() == kept
    assert any("unfit: objects[0].origin" in line for line in explain_added(load(file)))


async def test_a_private_one_has_a_secret_to_sign_passkeys_with(config: Config) -> None:
    async with serving(config) as node:
        assert node.swarms.holders.signer is None
        await node.additions.add(entry(private=True))
        assert node.swarms.holders.signer is not None


async def test_commands_know_what_was_added(config: Config, file: Path) -> None:
    async with serving(config) as node:
        await node.additions.add(entry(piece_length="1 MiB"))
    settings = configured(all_published(load(file)), "quotes", "Hardy")
    assert settings.piece_length == 1 << 20
    assert [*explain_added(load(file))] == ["added at run time: 1 entry"]
    with pytest.raises(ConfigError, match="not among the configured"):
        configured(load(file), "quotes", "Hardy")
