"""Whether an origin has a call that not every S3 has."""

from seeder.s3.support import HUNG_FOR, Support


def test_a_call_that_hangs_is_made_again_after_a_while() -> None:
    support = Support()
    for now in (0.0, 60.0):
        support.hung(now)
        assert not support.hangs(now)
    support.came()
    for now in (120.0, 180.0, 240.0):
        assert not support.hangs(now)
        support.hung(now)
    assert support.hangs(240.0 + HUNG_FOR - 1)
    later = 240.0 + HUNG_FOR
    assert not support.hangs(later)
    # One that hangs still is enough by then; an answer puts an end to it.
    support.hung(later)
    assert support.hangs(later)
    support.came()
    assert not support.hangs(later + HUNG_FOR)
    support.hung(later + HUNG_FOR)
    assert not support.hangs(later + HUNG_FOR)
