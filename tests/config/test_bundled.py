"""Bundles that give away what another entry keeps back."""

import pytest

from seeder.config.bundled import explain_entry, explain_given_away
from tests.config.support import Load


@pytest.mark.parametrize(
    ("bundle", "other", "warned"),
    [
        ("", 'key = "d/a"\npublish_at = 2999-01-01T00:00:00Z', True),
        ("", 'prefix = "d/x/"\npublish_at = 2999-01-01T00:00:00Z', True),
        ("", 'key = "d/a"\nprivate = true', True),
        ("", 'key = "d/a"\npublic = false', True),
        (
            "publish_at = 2999-01-01T00:00:00Z",
            'key = "d/a"\npublish_at = 2999-01-01T00:00:00Z',
            False,
        ),
        ("public = false", 'key = "d/a"\nprivate = true', False),
        ("", 'key = "d/a"\npublish_at = 2001-01-01T00:00:00Z', False),
        ("", 'key = "d/a"', False),
        ("", 'key = "e/a"\nprivate = true', False),
    ],
)
def test_a_bundle_that_gives_away_what_another_entry_keeps_back_is_warned_of(
    read: Load, bundle: str, other: str, warned: bool
) -> None:
    entry = '[[objects]]\nbucket = "quotes"\n'
    text = f'{entry}prefix = "d/"\nbundle = true\n{bundle}\n{entry}{other}\n'
    objects = read(text).objects
    assert [line.partition(" has ")[0] for line in explain_given_away(objects)] == (
        ["objects[0]: the bundle quotes/d/"] if warned else []
    )
    # Whichever of them was added at run time.
    [one] = [each for each in objects if each.bundle]
    [two] = [each for each in objects if not each.bundle]
    for there, added, place in (([one], [two], "objects[0]"), ([two], [one], "added")):
        lines = [*explain_given_away(there, added)]
        assert [line.partition(":")[0] for line in lines] == ([place] if warned else [])
    for kept, bundles, others in ((one, [one], [one, two]), (two, [one], [])):
        lines = [*explain_entry(kept, bundles, others.copy)]
        assert [line.startswith("the bundle quotes/d/ has ") for line in lines] == [True] * warned


def test_of_bundles_within_each_other_the_outer_one_gives_the_inner_one_away(read: Load) -> None:
    entry = '[[objects]]\nbucket = "quotes"\nbundle = true\nprefix = '
    later = "publish_at = 2999-01-01T00:00:00Z\n"
    objects = read(f'{entry}"d/x/"\n{later}{entry}""\n{later}{entry}"d/"\n').objects
    [line] = explain_given_away(objects)
    assert line.startswith("objects[2]: the bundle quotes/d/ has quotes/d/x/ in it")


def test_many_that_are_given_away_are_one_line(read: Load) -> None:
    entry = '[[objects]]\nbucket = "quotes"\n'
    kept = "".join(f'{entry}key = "d/{number}"\nprivate = true\n' for number in range(3))
    objects = read(f'{kept}{entry}prefix = "d/"\nbundle = true\n').objects
    [line] = explain_given_away(objects)
    assert line.startswith("objects[3]: the bundle quotes/d/ has quotes/d/0 and 2 more in it")
