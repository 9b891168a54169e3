"""A configuration file is either taken whole, or every mistake in it is named at once."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.config.load import load
from seeder.config.mistakes import TABLES
from seeder.config.node import CacheSettings
from seeder.config.objects import ObjectSettings
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.units import GIB, KIB, MIB
from tests.config.support import ONE_OBJECT, Load, only_problem, problems_of

"""In front of the lines of the example that show a key, or an entry of a list."""


def test_an_object_is_all_that_must_be_written(read: Load, tmp_path: Path) -> None:
    config = read(ONE_OBJECT)
    assert config.state_directory == tmp_path / "home/.local/state/seeder"
    assert config.cache.directory == tmp_path / "home/.cache/seeder"
    assert list(config.origins) == ["default"]
    origin = config.origins["default"]
    assert (origin.name, origin.endpoint, origin.region) == ("default", None, "us-east-1")
    (published,) = config.objects
    assert str(published.ref) == "quotes/Nelson"
    assert published.metainfo == ("origin", "sidecar", "checksums", "build")
    assert (published.verify, published.refresh, published.piece_length) == ("sample", 600.0, None)
    assert config.tracker.listen == (HostPort("0.0.0.0", 6969),)
    assert config.tracker.announce_url is None
    assert config.tracker.interval == 1800.0
    assert config.peer.listen == (HostPort("0.0.0.0", 6881),)
    assert (config.cache.memory, config.cache.disk) == (256 * MIB, 50 * GIB)
    assert config.admin.listen == (HostPort("127.0.0.1", 9180),)
    assert config.savings.price_per_gb == 0.09


def test_systemd_gives_the_directories(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/seeder:/var/lib/other")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/seeder")
    config = read(ONE_OBJECT)
    assert config.state_directory == Path("/var/lib/seeder")
    assert config.cache.directory == Path("/var/cache/seeder")
    written = read(f'state_directory = "/s"\n{ONE_OBJECT}[cache]\ndirectory = "/c"\n')
    assert (written.state_directory, written.cache.directory) == (Path("/s"), Path("/c"))


def test_sections_can_be_built_without_a_file(tmp_path: Path) -> None:
    cache = CacheSettings(directory=tmp_path, memory=1024, disk=4096)
    assert (cache.memory, cache.disk) == (1024, 4096)
    published = ObjectSettings(bucket="b", key="k", piece_length=16 * KIB, refresh=0.05)
    assert (published.piece_length, published.refresh) == (16 * KIB, 0.05)


def test_every_mistake_of_a_file_is_listed_at_once(read: Load) -> None:
    problems = problems_of(
        read,
        """
        memroy = 1
        [origin]
        endpoint = "ftp://s3.example.org"
        connections = 99
        [[objects]]
        bucket = "quotes"
        key = ""
        origin = "mirror"
        [[objects]]
        bucket = "quotes"
        key = "Nelson"
        piece_length = "3 MiB"
        verify = "al"
        [tracker]
        listen = ["6969"]
        intervall = "1m"
        [peer]
        public_address = "0.0.0.0:6881"
        [cache]
        memory = 256
        """,
    )
    assert [re.split(r"[ :]", line)[0] for line in problems] == [
        "origin.endpoint",
        "origin.connections",
        "objects[0].origin",
        "objects[0].key",
        "objects[1].piece_length",
        "objects[1].verify",
        "tracker.listen[0]",
        "tracker.intervall",
        "peer.public_address",
        "cache.memory",
        "memroy",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[cache]\nmemry = 1", 'cache.memry: unknown key; did you mean "memory"?'),
        ("[orgin]\nregion = 1", 'orgin: unknown key; did you mean "origin"?'),
        ("[origins.z]\nregoin = 1", 'origins.z.regoin: unknown key; did you mean "region"?'),
        ("[tracker]\nmemory = 1", "tracker.memory: unknown key here; it belongs to [cache]"),
        ("[savings]\nbucket = 1", "savings.bucket: unknown key here; it belongs to [[objects]]"),
        (
            "[admin]\nstate_directory = 1",
            "admin.state_directory: unknown key here; "
            "it goes to the top of the file, above every [heading]",
        ),
        (
            "[admin]\nzzz = 1",
            "admin.zzz: unknown key; there are listen, hosts, metrics_objects, socket, token_file,"
            " token_credential",
        ),
        ("[origin]\nname = 1", "origin.name: unknown key; an origin's name is in its heading"),
        ('[cache]\n"a b" = 1', 'cache."a b": unknown key; there are directory, memory, disk'),
        ("[origins.default]", 'origins.default: the origin named "default" is headed [origin]'),
        ('[origins."a b"]', 'origins."a b": want a name of letters, digits, - and _'),
    ],
)
def test_an_unknown_key_comes_with_a_guess(read: Load, text: str, problem: str) -> None:
    assert only_problem(read, f"{ONE_OBJECT}\n{text}\n") == problem


@pytest.mark.parametrize("text", ["x{} = 1", "[cache]\nx{} = 1", "[origins.x{}]\na = 1"])
def test_a_key_of_any_length_is_shown_in_a_line_that_can_be_read(read: Load, text: str) -> None:
    for problem in problems_of(read, text.format("x" * 10_000)):
        assert len(problem) < 400


@pytest.mark.parametrize("key", ["secret_access_key", "aws_access_key_id", "session_token"])
def test_a_credential_is_refused_and_never_shown(read: Load, key: str) -> None:
    problem = only_problem(read, f'{ONE_OBJECT}[origin]\n{key} = "hunter2"\n')
    assert problem.startswith(f"origin.{key}: unknown key; credentials never stand here")
    assert "hunter2" not in problem


@pytest.mark.parametrize("user", ["publisher:hunter2", "publisher:hunter2/x", "hunter2"])
def test_a_password_in_a_url_is_refused_and_never_shown(read: Load, user: str) -> None:
    text = f'{ONE_OBJECT}[origin]\nendpoint = "https://{user}@s3.example.org"\n'
    problem = only_problem(read, text)
    assert problem.startswith('origin.endpoint = "https://***@s3.example.org"')
    assert "hunter2" not in problem


@pytest.mark.parametrize("text", ["", "[tracker]", "[origin]\nregion = 'x'"])
def test_a_file_without_objects_is_refused(read: Load, text: str) -> None:
    assert only_problem(read, text).startswith("objects: there are none; add an [[objects]]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tracker = 3", "tracker = 3: want a table headed [tracker]"),
        ("origin = 'x'", 'origin = "x": want a table headed [origin]'),
        ("[[origin]]", "origin = [{}]: want a table headed [origin]"),
        ("[[cache]]", "cache = [{}]: want a table headed [cache]"),
        ("origins = 1", "origins = 1: want tables headed [origins.NAME]"),
        ("origins.z = 1", "origins.z = 1: want a table headed [origins.z]"),
        ("state_directory = 1979-05-27", "state_directory = 1979-05-27: want a path"),
    ],
)
def test_a_section_of_the_wrong_kind_is_refused(read: Load, text: str, problem: str) -> None:
    assert only_problem(read, f"{text}\n{ONE_OBJECT}") == problem


def test_objects_are_tables_in_double_brackets(read: Load) -> None:
    problem = only_problem(read, '[objects]\nbucket = "quotes"\nkey = "Nelson"\n')
    assert problem == "objects = {...}: want tables, each headed [[objects]]"
    assert only_problem(read, 'objects = ["quotes"]') == (
        'objects[0] = "quotes": want a table headed [[objects]]'
    )


def test_a_torrent_file_is_looked_for_beside_the_configuration(read: Load, tmp_path: Path) -> None:
    text = ONE_OBJECT + 'torrent_file = "torrents/nelson.torrent"\n'
    assert only_problem(read, text) == (
        'objects[0].torrent_file = "torrents/nelson.torrent": '
        f"want a file, and there is none at {tmp_path}/torrents/nelson.torrent"
    )
    (tmp_path / "torrents").mkdir()
    (tmp_path / "torrents/nelson.torrent").write_bytes(b"de")
    assert read(text).objects[0].torrent_file == tmp_path / "torrents/nelson.torrent"


def test_a_relative_configuration_path_still_anchors_its_files(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(f'{ONE_OBJECT}[cache]\ndirectory = "pieces"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("seeder.toml")).cache.directory == tmp_path / "pieces"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file, whatever its permissions")
def test_a_torrent_file_without_permission_is_refused(read: Load, tmp_path: Path) -> None:
    (tmp_path / "t").touch(mode=0)
    assert "that can be read" in only_problem(read, ONE_OBJECT + 'torrent_file = "t"\n')


def test_without_a_home_directory_the_place_must_be_written(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    state, cache = problems_of(read, ONE_OBJECT)
    assert state.startswith('state_directory = "~/.local/state/seeder": want a path without ~')
    assert cache.startswith('cache.directory = "~/.cache/seeder": want a path without ~')


def test_the_error_reads_as_one_line_too(read: Load) -> None:
    with pytest.raises(ConfigError, match=r"objects\[0\]\.bucket: missing.*; objects\[0\]\.key"):
        read("[[objects]]")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000,
        "x = " + "9" * 5000,
        f"{ONE_OBJECT}[peer]\nconnections = 0x{'f' * 5000}",
        f'{ONE_OBJECT}[cache]\nmemory = "{"9" * 5000} MiB"',
        f'{ONE_OBJECT}[tracker]\nlisten = ["a:{"9" * 5000}"]',
        f'{ONE_OBJECT}[tracker]\nlisten = ["\\u202Eevil\\u0000:1"]',
        f'{ONE_OBJECT}torrent_file = "\\u0000"',
    ],
)
def test_absurd_files_get_a_short_answer(read: Load, text: str) -> None:
    assert len(only_problem(read, text)) < 500


# The fixture keeps nothing between texts; the first text draws read a big table.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["state_directory", "origin", "origins", "objects", *TABLES]),
        st.recursive(
            st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["bucket", "key", "listen", "origin", "name", "memory", "z"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=12,
        ),
    )
)
def test_any_values_are_taken_or_refused_as_documented(read: Load, values: object) -> None:
    text = _toml(values)
    tomllib.loads(text)
    refusal = None
    try:
        read(text)
    except ConfigError as error:
        refusal = error.problems
    assert refusal is None or refusal
    assert all(line.isprintable() for line in refusal or ())


def _toml(value: object) -> str:
    """Write values as TOML, tables inline but the outermost."""
    if isinstance(value, dict):
        return "\n".join(f"{key} = {_inline(each)}" for key, each in value.items())
    raise TypeError(value)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    return str(value).lower()
