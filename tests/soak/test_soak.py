"""The soak itself, for seconds: that everything in it happens, and that its figures are read."""

from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.soak.__main__ import soak
from tests.soak.samples import Samples, slope
from tests.soak.verdict import HONEST, rows, unexpected_errors


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.skipif(CephRGW.why_missing() is not None, reason=str(CephRGW.why_missing()))
def test_a_short_soak_keeps_every_bound_that_seconds_can_show(tmp_path: Path) -> None:
    run = soak(12.0, tmp_path, pace=0.3)
    broken = [row for row in rows(run) if not row.within]
    assert not broken, (broken, run.truth.wrong, run.broken, run.log[-4000:])
    assert all(run.truth.done[kind] for kind in HONEST)
    assert run.truth.done["replacement"]
    assert run.truth.done["reload"]
    assert any(each["fault"] for each in run.exchanges)


def test_a_slope_is_that_of_the_line_through_all_samples() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert slope([0, 1, 2], [4, 4, 4]) == 0
    assert slope([], []) == 0


def test_descriptors_are_the_fewest_of_each_window() -> None:
    samples = Samples(at=[0, 10, 29, 31, 59], descriptors=[20, 900, 25, 700, 30])
    assert samples.least_descriptors() == ([0, 59], [20, 30])


def test_an_error_that_nothing_explains_is_told() -> None:
    log = (
        "2026-11-28 20:57:10.268 ERROR    seeder.http.connection: the handler of b'/' failed\n"
        "2026-11-28 20:57:10.268 INFO     seeder.daemon.run: ERROR \n"
    )
    assert unexpected_errors(log) == log.splitlines()[:1]
