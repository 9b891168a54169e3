"""`seeder check --online`: what it asks S3 for, and what it says of each entry."""

import resource
from pathlib import Path

import pytest

from seeder.commands.machine import doubt_machine
from seeder.config.load import load
from tests.commands.support import BODY, Site, seeder, write_prefixes, write_settings
from tests.s3.objects_server import ObjectsServer


async def test_check_online_asks_s3_for_every_object(site: Site) -> None:
    result = await seeder("check", "--online", "-c", site.path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert lines[3:] == [
        f"quotes/Nelson: ok, {len(BODY)} bytes, ETag {ObjectsServer.etag(BODY)}",
        f"quotes/Hardy: ok, 7 bytes, ETag {ObjectsServer.etag(b'kiss me')}",
    ]
    assert site.store.requests == {"HEAD Nelson": 1, "HEAD Hardy": 1}
    site.store.refuse.add("Nelson")
    del site.store.objects["Hardy"]
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 1
    assert result.line == "2 of 2 objects can't be published"
    refused, missing = result.out.decode().splitlines()[3:]
    assert refused.startswith("quotes/Nelson: S3 answers 403 AccessDenied")
    assert missing.startswith("quotes/Hardy: S3 answers 404 NoSuchKey")


async def test_check_online_lists_a_prefix_and_reads_nothing_of_it(site: Site) -> None:
    write_prefixes(site, "", "empty/", "speeches/")
    site.store.objects |= {f"speeches/{number}": b"hear" for number in range(3)}
    site.store.page = 2
    result = await seeder("check", "--online", "-c", site.path)
    lines = result.out.decode().splitlines()
    assert lines[0].endswith(": ok, 2 objects and 3 prefixes")
    assert lines[5:] == [
        # The two that have entries of their own, and those of a longer prefix, don't count.
        "quotes/: there is no object below it; check prefix and bucket",
        "quotes/empty/: there is no object below it; check prefix and bucket",
        "quotes/speeches/: ok, 3 objects below it, 12 bytes",
    ]
    assert (result.code, result.line) == (1, "2 of 5 objects can't be published")
    assert {name for name in site.store.requests if name.startswith("GET")} == set()


def test_what_this_machine_has_no_room_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1", "127.0.0.1:6881")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    assert list(doubt_machine(load(path))) == []
    usual = path.read_text()
    path.write_text(usual.replace('"1 GiB"', '"9000 TiB"'))
    [line] = doubt_machine(load(path))
    assert line.startswith("cache.disk: 8.79 PiB is more than ")
    path.write_text(usual.replace("[peer]", "[peer]\nconnections = 1000000"))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    [line] = doubt_machine(load(path))
    assert line.startswith("peer.connections: 1000000 don't fit the limit of 1024 open files")


async def test_check_warns_and_succeeds(site: Site) -> None:
    write_prefixes(site, "speeches/*", "/")
    result = await seeder("check", "-c", site.path)
    warnings = [line for line in result.out.decode().splitlines() if line.startswith("warning: ")]
    assert (result.code, result.err, len(warnings)) == (0, "", 2)
    assert warnings[0].startswith("warning: objects[2].prefix: quotes/speeches/*: there are no")
