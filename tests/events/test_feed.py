"""What all sources of events have in common."""

import json
import logging
from pathlib import Path

import pytest

from seeder.events.aside import LARGEST, MOST_FILES, Aside
from tests.events.support import Ears, feed_of, kept
from tests.s3.event_samples import S3_EVENT


async def test_news_are_told_and_counted(tmp_path: Path) -> None:
    ears = Ears()
    feed = feed_of(ears, tmp_path)
    [news] = await feed.take(json.dumps(S3_EVENT))
    assert ears.heard == [("default", news)]
    assert feed.messages == {"taken": 1}
    assert feed.news == {"asked": 1}
    assert feed.heard_at is not None
    assert news.at is not None
    assert feed.delay == max(0.0, feed.heard_at - news.at)


async def test_what_cannot_be_read_is_set_aside_with_a_line_that_shows_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = feed_of(Ears(), tmp_path / "aside")
    for _ in range(2):
        assert await feed.take('{"secret": "poison"}') == ()
    assert feed.messages == {"unreadable": 2}
    assert kept(tmp_path / "aside") == {b'{"secret": "poison"}': 1}
    assert len(caplog.records) == 2
    assert "it is kept in" in caplog.text
    assert "poison" not in caplog.text


async def test_a_bad_record_is_set_aside_alone_with_a_line_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ears = Ears()
    feed = feed_of(ears, tmp_path / "aside")
    [good] = S3_EVENT["Records"]
    await feed.take(json.dumps({"Records": [good, {"poison": 1}, good]}))
    assert ears.keys == ["a b+c/ü.bin"] * 2
    assert (feed.messages, feed.news) == ({"taken": 1}, {"asked": 2, "unreadable": 1})
    assert kept(tmp_path / "aside") == {b'{"Records": [{"poison": 1}]}': 1}
    [line] = caplog.messages
    assert line.startswith(
        "events uploads: 1 of 3 records of a message can't be read, which is record 2: a part of it"
        f" is missing; it is kept in {tmp_path}/aside/"
    )


async def test_what_is_set_aside_has_bounds(tmp_path: Path) -> None:
    aside = Aside(tmp_path)
    for number in range(MOST_FILES + 5):
        told = await aside.put(b"%d" % number + b"x" * LARGEST)
    assert "it is dropped" in told
    assert sum(kept(tmp_path).values()) == MOST_FILES
    assert {len(each) for each in kept(tmp_path)} == {LARGEST}


async def test_a_disk_that_takes_nothing_drops_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert (await Aside(tmp_path / "file" / "aside").put(b"x")).startswith("it is dropped: ")


async def test_a_fault_of_ours_with_news_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ears = Ears(fails=True)
    assert len(await feed_of(ears, tmp_path).take(json.dumps(S3_EVENT))) == 1
    assert "internal error" in caplog.text


async def test_a_fault_of_the_source_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = feed_of(Ears(), tmp_path)
    with caplog.at_level(logging.INFO):
        feed.fail("it is away")
        since = feed.since
        feed.fail("it is still away")
        assert (feed.fault, feed.since) == ("it is still away", since)
        feed.recover()
        feed.recover()
    assert (feed.fault, feed.since) == (None, None)
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
