"""`seeder torrent --for`, `seeder keys` and `seeder report --by name`, as a shell runs them."""

import json
import re
import stat
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from bencode2 import bdecode
from click.testing import CliRunner, Result

from seeder.cli import main
from seeder.http.dates import format_date
from seeder.ledger.counters import Ledger
from seeder.ledger.file import LedgerFile
from tests.commands.support import Site

NAME = "quotes/Nelson"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d"


@pytest.fixture
async def private(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose first object is private, and whose second isn't."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secrettest")
    path = trio.Path(site.path)
    text = await path.read_text()
    assert text.count('"64 KiB"') == 1
    await path.write_text(text.replace('"64 KiB"', '"64 KiB"\nprivate = true'))
    return site


async def run(*words: str | Path) -> Result:
    """Run a command in a thread of its own."""
    invoke = partial(CliRunner().invoke, main, [str(word) for word in words])
    with trio.fail_after(60):
        return await trio.to_thread.run_sync(invoke)


async def make(site: Site, holder: str, *words: str) -> tuple[Result, dict[bytes, Any]]:
    """Make a torrent for somebody; return how that went, and the torrent."""
    file = site.path.parent / "made.torrent"
    done = await run("torrent", "-c", site.path, NAME, "--for", holder, "-o", file, *words)
    return done, bdecode(file.read_bytes()) if done.exit_code == 0 else {}


async def rows(site: Site) -> list[dict[str, Any]]:
    done = await run("keys", "list", "-c", site.path, "--json")
    assert done.exit_code == 0
    found: list[dict[str, Any]] = json.loads(done.stdout)["keys"]
    return found


async def test_a_clock_that_is_behind_the_object_is_said_with_the_passkey(private: Site) -> None:
    private.store.headers = {"last-modified": format_date(int(time.time()) + 40 * 86_400)}
    done, _ = await make(private, "Alice B.")
    assert done.exit_code == 0
    doubt, told = done.stderr.splitlines()
    assert re.fullmatch(
        r"quotes/Nelson: this machine's clock is at least \d+ d behind S3's: the passkey ends as"
        r" much too early; set it \(NTP\), and make another",
        doubt,
    )
    assert "for Alice B. until" in told


async def test_a_private_torrent_is_made_for_somebody(private: Site) -> None:
    file = private.path.parent / "made.torrent"
    file.unlink(missing_ok=True)
    done, torrent = await make(private, "Alice B.", "--valid", "2h")
    assert done.exit_code == 0
    assert re.search(rf", for Alice B\. until {MOMENT} \(UTC\)\n$", done.stderr)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    announce = torrent[b"announce"].decode()
    assert re.fullmatch(r"http://127\.0\.0\.1:6969/announce/[A-Za-z0-9_-]{20,}", announce)
    assert b"announce-list" not in torrent
    assert torrent[b"info"][b"private"] == 1
    _, other = await make(private, "bob")
    assert other[b"announce"] != torrent[b"announce"]
    assert other[b"info"] == torrent[b"info"]
    alice, bob = await rows(private)
    assert (alice["name"], alice["object"], alice["state"]) == ("Alice B.", NAME, "good")
    assert alice["until"] - alice["made"] == 2 * 3600
    assert bob["until"] - bob["made"] == 30 * 86_400


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((NAME,), "quotes/Nelson: is private: say whom its torrent is for, with --for NAME"),
        (("quotes/Hardy", "--for", "a"), "needs no passkey: anybody may have it"),
        ((NAME, "--for", "a\nb"), "want a name of letters"),
        ((NAME, "--for", ""), "want a name without blanks around it"),
        ((NAME, "--for", "x" * 65), "want at most 64 bytes"),
        (("quotes/Hardy", "--valid", "1d"), "--valid: is of a passkey; name its holder with --for"),
        ((NAME, "--for", "a", "--valid", "1s"), "want a minute at least"),
        ((NAME, "--for", "a", "--valid", "-1d"), "want a time such as"),
        ((NAME, "--for", "a", "--valid", "0d"), "want a time above zero"),
        ((NAME, "--for", "a", "--valid", "2000000000d"), "at most a year"),
        ((NAME, "--for", "a", "--valid", "for ever"), "want a time such as"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    private: Site, words: Sequence[str], said: str, tmp_path: Path
) -> None:
    output = tmp_path / "none"
    done = await run("torrent", "-c", private.path, *words, "-o", output)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not output.exists()
    assert await rows(private) == []


async def test_a_private_object_has_no_magnet_link(private: Site) -> None:
    done = await run("magnet", "-c", private.path, NAME)
    assert done.exit_code == 2
    assert "has no magnet link: make a torrent with --for NAME" in done.stderr


async def test_a_revocation_takes_all_keys_of_a_name_and_a_new_one_is_good(private: Site) -> None:
    await make(private, "alice")
    await make(private, "bob")
    done = await run("keys", "revoke", "-c", private.path, "alice")
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.fullmatch(rf"alice: all passkeys made until {MOMENT} are revoked\n", done.stdout)
    assert [row["state"] for row in await rows(private)] == ["revoked", "good"]
    listed = (await run("keys", "list", "-c", private.path)).stdout
    assert re.search(
        rf"^name +object +made +until +last seen +state\n"
        rf"alice +{NAME} +{MOMENT} +{MOMENT} +- +revoked {MOMENT}\n"
        rf"bob +{NAME} +{MOMENT} +{MOMENT} +- +good\n2 passkeys; ",
        listed,
    )
    await make(private, "alice")
    assert [row["state"] for row in await rows(private)] == ["good", "good"]


async def test_a_name_that_is_not_known_is_asked_about(private: Site) -> None:
    await make(private, "alice")
    done = await run("keys", "revoke", "-c", private.path, "alcie")
    assert done.exit_code == 2
    assert 'no passkey was made for that name here; did you mean "alice"?' in done.stderr
    done = await run("keys", "revoke", "-c", private.path, "zebedee")
    assert "--unknown revokes it all the same" in done.stderr
    assert [row["state"] for row in await rows(private)] == ["good"]
    done = await run("keys", "revoke", "-c", private.path, "zebedee", "--unknown")
    assert done.exit_code == 0
    assert [(row["name"], row["state"]) for row in await rows(private)] == [
        ("alice", "good"),
        ("zebedee", "revoked"),
    ]
    listed = await run("keys", "list", "-c", private.path)
    assert listed.stdout.splitlines()[-1].startswith("1 passkey; ")
    assert (await run("keys", "revoke", "-c", private.path, "a\n")).exit_code == 2


async def test_before_the_first_key_the_list_says_how_to_make_one(private: Site) -> None:
    done = await run("keys", "list", "-c", private.path)
    assert done.stdout == "no passkeys; `seeder torrent --for NAME BUCKET/KEY` makes one\n"
    assert not (private.state / "passkeys.json").exists()


async def test_a_damaged_register_is_said_to_be_damaged(private: Site) -> None:
    await make(private, "alice")
    (private.state / "passkeys.json").write_text("{}")
    for words in (("list",), ("revoke", "alice")):
        done = await run("keys", words[0], "-c", private.path, *words[1:])
        assert done.exit_code == 1
        assert "passkeys.json: it is damaged" in done.stderr
        assert "restore it, or move it away" in done.stderr


async def test_a_named_secret_signs_and_a_bad_one_is_said_to_be_bad(private: Site) -> None:
    secret = private.path.parent / "passkeys.secret"
    text = private.path.read_text()
    private.path.write_text(
        re.sub(r'("?tracker"?\]\n)', rf'\1passkey_secret_file = "{secret}"\n', text)
    )
    done, _ = await make(private, "alice")
    assert done.exit_code == 1  # it may be there at the next start
    assert "tracker.passkey_secret_file: " in done.stderr
    assert "can't be read" in done.stderr
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o644)
    done, _ = await make(private, "alice")
    assert "chmod 600" in done.stderr
    secret.chmod(0o600)
    done, _ = await make(private, "alice")
    assert done.exit_code == 0
    assert not (private.state / "passkey.secret").exists()


async def test_the_report_by_name_tells_measured_from_claimed(private: Site) -> None:
    private.state.mkdir(exist_ok=True)
    file, ledger = LedgerFile(private.state / "ledger.sqlite"), Ledger()
    file.write((), 1_800_000_000.0, holders=ledger.holders)
    empty = await run("report", "-c", private.path, "--by", "name")
    assert empty.stdout.startswith("nobody was seen with a passkey")
    ledger.holders.sent("alice", 3 * 1024)
    ledger.holders.sent("bob, jr.", 5 * 1024)
    ledger.holders.announced("alice", uploaded=10, downloaded=2048, completed=True)
    file.write((), 1_800_000_000.0, holders=ledger.holders)
    file.close()
    text = (await run("report", "-c", private.path, "--by", "name")).stdout.splitlines()
    assert re.split(r"  +", text[0]) == [
        "name",
        "sent (measured)",
        "downloaded (claimed)",
        "uploaded (claimed)",
        "completed (claimed)",
        "last seen (UTC)",
    ]
    assert [re.split(r"  +", line)[:2] for line in text[1:]] == [
        ["bob, jr.", "5.00 KiB"],
        ["alice", "3.00 KiB"],
    ]
    table = (await run("report", "-c", private.path, "--by", "name", "--csv")).stdout
    assert table.splitlines()[1] == '"bob, jr.",5120,0,0,0,1800000000'
    document = json.loads(
        (await run("report", "-c", private.path, "--by", "name", "--json")).stdout
    )
    assert document["names"][1] == {
        "name": "alice",
        "sent_bytes": 3072,
        "downloaded_claimed_bytes": 2048,
        "uploaded_claimed_bytes": 10,
        "completed": 1,
        "last_seen": 1_800_000_000,
    }
    page = await run("report", "-c", private.path, "--by", "name", "--html", "page.html")
    assert page.exit_code == 2
