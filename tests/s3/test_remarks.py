"""What is true of an origin is said once."""

import logging

import pytest

from seeder.s3.remarks import Remarks
from seeder.torrent.objects import ObjectRef

LOG = logging.getLogger("tests.remarks")


def test_a_remark_is_logged_for_the_first_object_then_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remarks = Remarks(LOG)
    for number in range(1234):
        ref = ObjectRef("archive", "bucket", f"key-{number}")
        remarks.say(logging.WARNING, "lies", ref, f"{ref}: it lies", "leave it out")
    assert [record.getMessage() for record in caplog.records if record.levelno > 10] == [
        "bucket/key-0: it lies",
        "bucket/key-9: it lies; the same was met 10 times at origin archive; leave it out",
        "bucket/key-99: it lies; the same was met 100 times at origin archive; leave it out",
        "bucket/key-999: it lies; the same was met 1000 times at origin archive; leave it out",
    ]


def test_kinds_and_origins_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    remarks = Remarks(LOG)
    caplog.set_level(logging.INFO)
    for origin in ("one", "two"):
        for kind in ("a", "b"):
            remarks.say(logging.INFO, kind, ObjectRef(origin, "b", "k"), f"{origin} {kind}")
            remarks.say(logging.INFO, kind, ObjectRef(origin, "b", "k"), "again")
    assert caplog.messages == ["one a", "one b", "two a", "two b"]


def test_an_origin_that_words_everything_differently_takes_no_memory() -> None:
    remarks = Remarks(LOG)
    for number in range(5000):
        remarks.say(logging.DEBUG, str(number), ObjectRef("o", "b", "k"), "text")
    assert len(remarks._counts) <= 1000
