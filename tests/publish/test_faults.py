"""Faults of torrents reach their handler at once, and the log while there is none."""

from typing import cast

import pytest

from seeder.errors import ObjectChanged, SeederError
from seeder.publish.faults import Faults
from seeder.torrent.torrent import Torrent

TORRENT = cast(Torrent, object())


def test_a_fault_is_heard_at_once_and_logged_while_there_is_no_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults, heard = Faults(), list[tuple[Torrent, SeederError]]()
    came: list[tuple[Torrent, int]] = []
    report, error = faults.report, ObjectChanged("it is another one")
    report(TORRENT, ObjectChanged("early"))
    with faults.handled_by(lambda *fault: heard.append(fault), lambda *right: came.append(right)):
        report(TORRENT, error)
        assert heard == [(TORRENT, error)]
        faults.report_recovery(TORRENT, 7)
        assert came == [(TORRENT, 7)]
    report(TORRENT, ObjectChanged("late"))
    faults.report_recovery(TORRENT, 8)
    assert heard == [(TORRENT, error)]
    assert [record.getMessage() for record in caplog.records] == ["early", "late"]
