"""`seeder check --online`: what it asks S3 for, and what it says of each entry."""

import json
import re
import resource
from pathlib import Path

import pytest
import trio

from seeder.commands.check import WORKERS
from seeder.commands.machine import doubt_machine
from seeder.config.load import load
from seeder.units import GIB, MIB
from tests.commands.support import (
    BODY,
    PROGRAM,
    Site,
    environment,
    seeder,
    write_prefixes,
    write_settings,
)
from tests.s3.fault_server import Seen, error
from tests.s3.objects_server import ObjectsServer
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.processes import Child


async def test_check_online_asks_s3_for_every_object(site: Site) -> None:
    result = await seeder("check", "--online", "-c", site.path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert lines[3:5] == [
        f"quotes/Nelson: ok, {len(BODY)} bytes, ETag {ObjectsServer.etag(BODY)}",
        f"quotes/Hardy: ok, 7 bytes, ETag {ObjectsServer.etag(b'kiss me')}",
    ]
    # One of them is asked about once more, for what its bucket allows.
    assert site.store.requests["HEAD Nelson"] + site.store.requests["HEAD Hardy"] == 3
    site.store.refuse.add("Nelson")
    del site.store.objects["Hardy"]
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 1
    assert result.line == "2 of 2 entries can't be published"
    refused, missing, _ = result.out.decode().splitlines()[3:6]
    assert refused.startswith("quotes/Nelson: S3 answers 403 AccessDenied")
    assert missing.startswith("quotes/Hardy: S3 answers 404 NoSuchKey")


async def test_check_tells_programs_all_that_it_tells_people(site: Site) -> None:
    write_prefixes(site, "speeches/*")
    site.store.objects["speeches/*1"] = b"hear"
    site.store.refuse.add("Nelson")
    told = await seeder("check", "-c", site.path, "--online", "--json")
    people = await seeder("check", "-c", site.path, "--online")
    lines = [*people.out.decode().splitlines(), *people.err.splitlines()]
    found = json.loads(told.out)
    assert (told.code, told.err) == (people.code, "") == (1, "")
    assert (found["ok"], found["online"]) == (False, True)
    assert found["configuration"] == str(site.path)
    warned = [f"warning: {each}" for each in found["warnings"]]
    assert sorted(lines) == sorted([*warned, *found["faults"], *found["notes"]])
    assert "objects[2].prefix: quotes/speeches/*: there are no patterns" in "".join(warned)
    [nelson, end] = found["faults"]
    assert nelson.startswith("quotes/Nelson: S3 answers 403 AccessDenied")
    assert end == "1 of 3 entries can't be published"


async def test_check_tells_programs_every_mistake(site: Site) -> None:
    usual = site.path.read_text()
    fine = await seeder("check", "-c", site.path, "--json")
    found = json.loads(fine.out)
    assert (fine.code, fine.err, found["ok"], found["online"]) == (0, "", True, False)
    assert (found["mistakes"], found["faults"]) == ([], [])
    site.path.write_text(f'wach = true\n{usual}["peer2"]\n')
    wrong = await seeder("check", "-c", site.path, "--json", "--online")
    found = json.loads(wrong.out)
    assert (wrong.code, wrong.err, found["ok"], found["notes"]) == (2, "", False, [])
    assert found["mistakes"] == [
        'wach: unknown key; did you mean "watch"?',
        'peer2: unknown key; did you mean "peer"?',
    ]


async def test_check_online_lists_a_prefix_and_reads_nothing_of_it(site: Site) -> None:
    write_prefixes(site, "", "empty/", "speeches/")
    site.store.objects |= {f"speeches/{number}": b"hear" for number in range(3)}
    site.store.page = 2
    result = await seeder("check", "--online", "-c", site.path)
    lines = result.out.decode().splitlines()
    assert lines[0].endswith(": ok, 2 objects and 3 prefixes")
    assert lines[5:8] == [
        # The two that have entries of their own, and those of a longer prefix, don't count.
        "quotes/: there is no object below it; check prefix and bucket",
        "quotes/empty/: there is no object below it; check prefix and bucket",
        "quotes/speeches/: ok, 3 objects below it, 12 bytes",
    ]
    assert (result.code, result.line) == (1, "2 of 5 entries can't be published")
    assert not [name for name in site.store.requests if name.startswith("GET speeches/")]


def test_what_this_machine_has_no_room_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1")
    limits = {resource.RLIMIT_NOFILE: (65536, 65536), resource.RLIMIT_AS: (GIB, GIB)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    assert list(doubt_machine(load(path))) == []
    with monkeypatch.context() as patch:
        patch.setitem(limits, resource.RLIMIT_AS, (256 * MIB, 256 * MIB))
        [line] = doubt_machine(load(path))
    assert line.startswith("cache.memory: 256 MiB, and ")
    usual = path.read_text()
    path.write_text(usual.replace('"1 GiB"', '"9000 TiB"'))
    [line] = doubt_machine(load(path))
    assert line.startswith("cache.disk: 8.79 PiB is more than ")
    path.write_text(usual)
    limits[resource.RLIMIT_NOFILE] = (1024, 4096)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    [line] = doubt_machine(load(path))
    assert line.startswith("peer.connections: 2000 don't fit the limit of 1024 open files")


async def test_check_warns_and_succeeds(site: Site) -> None:
    write_prefixes(site, "speeches/*", "/")
    result = await seeder("check", "-c", site.path)
    warnings = [line for line in result.out.decode().splitlines() if line.startswith("warning: ")]
    assert (result.code, result.err, len(warnings)) == (0, "", 2)
    assert warnings[0].startswith("warning: objects[2].prefix: quotes/speeches/*: there are no")


def many(site: Site, count: int) -> None:
    """Publish objects besides the two, by entries of their own."""
    site.store.objects |= {f"n{number}": b"hear" for number in range(count)}
    entries = "".join(f'[[objects]]\nbucket = "quotes"\nkey = "n{n}"\n' for n in range(count))
    site.path.write_text(site.path.read_text() + entries)


async def test_entries_are_asked_about_side_by_side_and_told_in_their_order(site: Site) -> None:
    many(site, 20)
    serve, together = site.store.serve, trio.Event()
    asked = 0

    async def first_ones_wait(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal asked
        asked += 1
        if asked == WORKERS:
            together.set()
        await together.wait()
        await serve(seen, stream)

    site.server.default = first_ones_wait
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 0
    lines = [line for line in result.out.decode().splitlines() if ": ok, " in line][1:]
    names = [line.partition(":")[0] for line in lines]
    assert names == ["quotes/Nelson", "quotes/Hardy", *(f"quotes/n{n}" for n in range(20))]


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
async def test_credentials_that_are_refused_are_said_once(site: Site, code: str) -> None:
    many(site, 60)
    asked = 0

    async def refuse(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal asked
        asked += 1
        await error(403, code)(seen, stream)

    site.server.default = refuse
    result = await seeder("check", "--online", "-c", site.path)
    assert (result.code, result.line) == (1, "62 of 62 entries can't be published")
    told = [line for line in result.out.decode().splitlines() if code in line]
    assert len(told) == 1
    assert told[0].startswith("origin default: 62 entries can't be asked about: quotes/")
    assert asked < 10 * WORKERS


@pytest.mark.parametrize("count", [1, 60])
async def test_a_bucket_that_isnt_there_is_said_once(site: Site, count: int) -> None:
    site.path.write_text(
        site.path.read_text()
        + "".join(
            f'\n[[objects]]\nbucket = "nowhere"\nkey = "n{number}"\n' for number in range(count)
        )
    )
    serve = site.store.serve
    asked = 0

    async def lack(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal asked
        lacks = seen.path.startswith("/nowhere")
        asked += lacks
        await (error(404, "NoSuchBucket") if lacks else serve)(seen, stream)

    site.server.default = lack
    result = await seeder("check", "--online", "-c", site.path)
    assert (result.code, result.line) == (1, f"{count} of {2 + count} entries can't be published")
    [line] = [line for line in result.out.decode().splitlines() if "nowhere" in line]
    entries = "1 entry" if count == 1 else f"{count} entries"
    assert line.startswith(f"nowhere: {entries} can't be published: S3 answers 404 NoSuchBucket")
    assert asked < 3 * WORKERS


async def test_what_is_wrong_with_several_entries_is_told_of_the_first(site: Site) -> None:
    many(site, 5)

    async def refuse(seen: Seen, stream: trio.abc.Stream) -> None:
        await error(403, "AccessDenied")(seen, stream)

    site.server.default = refuse
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 1
    lines = [line for line in result.out.decode().splitlines() if line.startswith("quotes/")]
    assert lines[0].startswith("quotes/Nelson: S3 answers 403 AccessDenied; check that the key")
    names = ["quotes/Hardy", *(f"quotes/n{n}" for n in range(5))]
    assert lines[1:] == [f"{name}: the same as quotes/Nelson" for name in names]


async def test_each_action_is_tried_apart(site: Site) -> None:
    serve = site.store.serve

    async def refuse_some(seen: Seen, stream: trio.abc.Stream) -> None:
        refused = "attributes" in seen.query or "list-type" in seen.query or "prefix" in seen.query
        await (error(403, "AccessDenied") if refused else serve)(seen, stream)

    result = await seeder("check", "--online", "-c", site.path)
    line = result.out.decode().splitlines()[5]
    assert line.startswith("quotes: s3:GetObject allowed, s3:ListBucket allowed, s3:GetObjectTor")
    assert "s3:GetObjectTorrent not known there" in line
    site.server.default = refuse_some
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 0
    line = result.out.decode().splitlines()[5]
    assert "s3:GetObject allowed" in line
    assert "s3:ListBucket refused (without it no prefix" in line
    assert "s3:GetObjectAttributes refused (" in line
    assert sum(site.store.body_bytes.values()) <= 2


@pytest.fixture
def announce(site: Site) -> str:
    """The announce URL, at a port of its own."""
    port = free_port("127.0.0.1")
    text = site.path.read_text().replace("127.0.0.1:6969", f"127.0.0.1:{port}")
    site.path.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    return f"http://127.0.0.1:{port}/announce"


async def test_what_clients_are_told_is_dialled_from_here(site: Site, announce: str) -> None:
    result = await seeder("check", "--online", "-c", site.path)
    assert result.code == 0
    tracker, peers = result.out.decode().splitlines()[-2:]
    url = f"tracker.announce_url: {announce}"
    assert tracker.startswith(f"warning: {url}: tried from here, Connection refused; the seeder")
    assert peers.startswith(f"warning: peer.public_address: {site.peer}: tried from here, Connec")
    command: list[str | Path] = [*PROGRAM, "run", "-c", site.path]
    log = site.path.parent / "run.log"
    with Child(command, log=log, env=environment()) as daemon:
        daemon.wait_until(lambda: "ready: " in daemon.output(), timeout=60, what="ready")
        result = await seeder("check", "--online", "-c", site.path)
    tracker, peers = result.out.decode().splitlines()[-2:]
    assert tracker == f"{url}: answers, tried from here; try it from outside, too"
    assert peers.startswith(f"peer.public_address: {site.peer}: answers, tried from here")


async def test_what_is_no_tracker_is_named(site: Site, announce: str) -> None:
    path = trio.Path(site.path)
    await path.write_text((await path.read_text()).replace(announce, f"{site.server.url}/announce"))

    async def no_tracker(seen: Seen, stream: trio.abc.Stream) -> None:
        serve = error(404, "NoSuchBucket") if seen.path == "/announce" else site.store.serve
        await serve(seen, stream)

    site.server.default = no_tracker
    result = await seeder("check", "--online", "-c", site.path)
    [line] = [each for each in result.out.decode().splitlines() if "announce_url" in each]
    assert "what answers is no tracker (status 40" in line


async def test_check_reads_the_certificate_as_the_service_would(site: Site, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.write_pair(tmp_path, ["t.example.org"])
    text = site.path.read_text()
    files = f'tls_certificate = "{certificate}"\ntls_key = "{key}"'
    site.path.write_text(re.sub(r'(\["?tracker"?\]\n)', rf"\g<1>{files}\n", text))
    result = await seeder("check", "-c", site.path)
    assert result.code == 0
    assert b"warning: tracker.tls_certificate: holds one certificate alone" in result.out
    authority.write_pair(tmp_path, ["t.example.org"], days=(-80, 5))
    result = await seeder("check", "-c", site.path)
    assert b"warning: tracker.tls_certificate: ends on " in result.out
    authority.write_pair(tmp_path, ["t.example.org"], days=(-80, -5))
    for command in ("check", "run"):
        result = await seeder(command, "-c", site.path)
        assert result.code == 1
        assert result.line.startswith(f"tracker.tls_certificate: {certificate} expired on ")
    named = 'tls_certificate_credential = "c"\ntls_key_credential = "k"'
    site.path.write_text(re.sub(r'(\["?tracker"?\]\n)', rf"\g<1>{named}\n", text))
    result = await seeder("check", "-c", site.path)
    assert result.code == 0
    assert b"tracker.tls_certificate: not checked: only the service reads" in result.out
