"""Files of plain entries are read as tomllib reads them, or left to it."""

import tomllib

from hypothesis import example, given
from hypothesis import strategies as st

from seeder.config.plain_toml import read_plain

LINES = (
    *("[[objects]]", "[[objects]] ", " [[objects]]", "[[objects]] # here", "[[other]]"),
    *("[tracker]", "[objects.x]", "[[objects.x]]", "[objects]", "objects = []", "objects.x = 1"),
    *('bucket = "b"', 'key = "k"', 'key="k"', "key = 'k'", 'key = "\\u00e9"', 'key = "é \' #"'),
    *('key = "a\tb"', 'key = "k" # one', "'key' = 1", '"key" = 2', 'a.b = "c"', "é = 1"),
    *('x = """', '"""', "x = '''", "'''", 'x = """"""', 'x = ""', "x = [", "]", '["""]', '[x."]"]'),
    *('metainfo = ["build"]', 'metainfo = ["a","b"]', 'metainfo = ["a", "b"]', "metainfo = []"),
    *("warm = true", "n = 0", "n = 01", "n = 10", "n = 1_000", "n = -1", "n = 1.5"),
    *("n = 12345678901", "at = 2027-01-15T18:00:00Z", "# says something", "#\x01", "", "\t", "\r"),
    *("nonsense", "=", "["),
)  # fmt: skip
PLAIN = """\
state_directory = "state"
[origin]
endpoint = "http://127.0.0.1:9000"
# all of them
[[objects]]
bucket = "b"
key = "é/[[objects]]"
metainfo = ["origin", "build"]

[[objects]]
bucket = "b"
prefix = ""
max_objects = 100
public = false
[tracker]
listen = [
  "127.0.0.1:8000",
]
"""


def by_tomllib(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError):
        return None


@given(st.lists(st.sampled_from(LINES), max_size=12), st.sampled_from(["\n", "\r\n"]))
@example(['x = """', "[[objects]]", '["""]'], "\n")
@example(["x = [", "[[objects]]", "[1]]"], "\n")
@example(["[[objects]]", "n = 1", "n = 1"], "\n")
@example(["[[objects]]", "[objects.x]"], "\n")
@example(["[tracker]", "[[objects]]", "[tracker]"], "\n")
def test_what_is_read_plainly_is_what_tomllib_reads(lines: list[str], end: str) -> None:
    text = end.join(lines)
    found = read_plain(text)
    if found is not None:
        assert found == by_tomllib(text)


def test_a_file_of_plain_entries_is_not_left_to_tomllib() -> None:
    for end in ("\n", "\r\n"):
        text = PLAIN.replace("\n", end)
        found = read_plain(text)
        assert found is not None
        assert found == tomllib.loads(text)
        tables = found["objects"]
        assert isinstance(tables, list)
        assert [list(map(type, each.values())) for each in tables] == [
            [str, str, list],
            [str, str, int, bool],
        ]
