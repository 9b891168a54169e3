"""Keys in the environment: each stands for the file's, over it, and what is wrong is named."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from seeder.cli import main
from seeder.config.load import find_instances, load
from seeder.config.sections import Config
from seeder.errors import ConfigError
from tests.config.support import EXAMPLE

COMMENTED = r"^# (?=[\w\"/]+ = |\[)"
ONE_OBJECT = {"SEEDER_OBJECTS__0__BUCKET": "quotes", "SEEDER_OBJECTS__0__KEY": "Nelson"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems_of(environment: Mapping[str, str], path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, None, environment)
    return list(raised.value.problems)


def only_problem(**variables: str) -> str:
    [problem] = problems_of(
        ONE_OBJECT | {f"SEEDER_{name}": text for name, text in variables.items()}
    )
    return problem


def variables_of(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Yield a variable for each key of a file's values."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from variables_of(each, f"{name}__{key.upper().replace('-', '_')}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, each in enumerate(value):
            yield from variables_of(each, f"{name}__{index}")
    else:
        # A date is written as a text is: without quotes.
        plain = isinstance(value, str | datetime)
        yield name, str(value) if plain else json.dumps(value)


def whole_example(home: Path) -> str:
    """Return the example with all that stands behind a #, but what excludes something else."""
    (home / "nelson.torrent").write_bytes(b"de")
    (home / "ca.pem").write_bytes(b"")
    text = re.sub(
        '^# ((password|tls_certificate|tls_key)_credential|token_credential = "api-token") .*',
        "",
        EXAMPLE.read_text(),
        flags=re.M,
    )
    text = re.sub(COMMENTED, "", text.replace('"redis://10', '"rediss://10'), flags=re.M)
    return re.sub(r"/etc/seeder/(redis-)?ca\.pem", "ca.pem", text)


def test_every_key_can_stand_in_the_environment(home: Path) -> None:
    text = whole_example(home)
    path = home / "seeder.toml"
    path.write_text(text)
    values = tomllib.loads(text)
    groups = values["tracker"].pop("groups")  # names with a slash are no part of a variable's
    variables = {
        name.removeprefix("_"): value
        for key, each in values.items()
        for name, value in variables_of(each, f"SEEDER_{key.upper()}")
    }
    inline = ", ".join(f"{json.dumps(name)} = {json.dumps(each)}" for name, each in groups.items())
    variables["SEEDER_TRACKER__GROUPS"] = f"{{{inline}}}"
    assert load(None, None, variables) == load(path, None, {})
    assert len(variables) > 100


def test_the_environment_goes_over_the_file(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text(
        '[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n[origins.eu-west]\nregion = "eu-west-1"\n'
        '[tracker]\ninterval = "10m"\nlisten = ["127.0.0.1:1"]\n'
    )
    environment = {
        "SEEDER_TRACKER__INTERVAL": "20m",
        "SEEDER_OBJECTS__0__KEY": "Hardy",
        "SEEDER_OBJECTS__1__BUCKET": "more",
        "SEEDER_OBJECTS__1__PREFIX": "",
        "SEEDER_OBJECTS__1__ORIGIN": "eu-west",
        "SEEDER_ORIGINS__EU_WEST__PATH_STYLE": "true",
        "SEEDER_ORIGINS__US__REGION": "us-west-2",
        "SEEDER_LOG__LEVELS__PEER": "warning",
    }
    config = load(path, None, environment)
    assert (config.tracker.interval, config.tracker.listen[0].port) == (1200, 1)
    assert [(each.bucket, each.key, each.prefix) for each in config.objects] == [
        ("quotes", "Hardy", None),
        ("more", None, ""),
    ]
    west = config.origins["eu-west"]
    assert (west.region, west.path_style) == ("eu-west-1", True)
    assert config.origins["us"].region == "us-west-2"
    assert config.log.levels == {"peer": "warning"}
    assert load(path, None, {}).tracker.interval == 600


def test_a_list_of_tables_comes_whole_and_its_entries_over_it() -> None:
    entries = '[{bucket = "quotes", key = "Nelson"}, {bucket = "archive", prefix = "a/"}]'
    config = load(None, None, {"SEEDER_OBJECTS__1__PREFIX": "b/", "SEEDER_OBJECTS": entries})
    assert [(each.key, each.prefix) for each in config.objects] == [("Nelson", None), (None, "b/")]


def test_eleven_entries_are_in_the_order_of_their_numbers() -> None:
    config = load(
        None,
        None,
        {
            f"SEEDER_OBJECTS__{index}__{key}": value
            for index in range(11)
            for key, value in (("KEY", f"k{index}"), ("BUCKET", "quotes"))
        },
    )
    assert [each.key for each in config.objects] == [f"k{index}" for index in range(11)]


@pytest.mark.parametrize(
    "key", ["123", "true", "2026-11-29", "[draft]", '"quoted"', "a = 1", "{x}", "1\nb = 2", "nan"]
)
def test_a_key_that_takes_a_text_takes_any(key: str) -> None:
    config = load(None, None, ONE_OBJECT | {"SEEDER_OBJECTS__0__KEY": key})
    assert config.objects[0].key == key


def test_paths_start_where_it_was_started_without_a_file(home: Path) -> None:
    config = load(None, None, ONE_OBJECT | {"SEEDER_STATE_DIRECTORY": "here"})
    assert config.state_directory == home / "here"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TRACKER_ANNOUNCE_URL", "did you mean SEEDER_TRACKER__ANNOUNCE_URL?"),
        ("TRACKER__ANOUNCE_URL", "did you mean SEEDER_TRACKER__ANNOUNCE_URL?"),
        ("OBJECTS__0__PREFIXX", "did you mean SEEDER_OBJECTS__0__PREFIX?"),
        ("ORIGINS__EU__REGIO", "did you mean SEEDER_ORIGIN__REGION?"),
        ("SAIL", "want SEEDER_SECTION__KEY, such as SEEDER_TRACKER__ANNOUNCE_URL"),
        ("TRACKER__LISTEN__0", "SEEDER_TRACKER__LISTEN holds a value, and there is none below it"),
        ("PEER_PORT", "want SEEDER_SECTION__KEY, such as SEEDER_TRACKER__ANNOUNCE_URL"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_near_one_and_without_its_value(
    name: str, said: str
) -> None:
    assert only_problem(**{name: "hushhush"}) == f"SEEDER_{name}: unknown variable; {said}"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PEER__UPLOAD_RATE", "fast", 'peer.upload_rate = "fast": want "unlimited", or'),
        ("OBJECTS__0__REFRESH", "soon", 'objects[0].refresh = "soon": want a time'),
        ("ORIGIN__ENDPOINT", "", 'origin.endpoint = "": want a URL'),
        ("TRACKER__LISTEN", "0.0.0.0:1", 'tracker.listen = "0.0.0.0:1": want a list such as'),
        ("TRACKER__LISTEN", "[1", "not TOML: "),
        ("TRACKER", "on", "not TOML: "),
        ("OBJECTS__0__KEY", "a\udcff", 'objects[0].key = "a\\uDCFF": want UTF-8'),
        ("OBJECTS__FIRST__KEY", "x", "want a number behind SEEDER_OBJECTS__, 0 for the first"),
        ("OBJECTS__3__KEY", "x", "there is no SEEDER_OBJECTS__1 before it"),
        ("ORIGIN__AWS_SESSION", "hush", "origin.aws_session: unknown key"),
        ("ORIGIN__SECRET_ACCESS_KEY", "hush", "origin.secret_access_key: unknown key; credentials"),
        ("LOG__LEVELS__PEER", "loud", "log.levels = {...}: want"),
    ],
)
def test_a_mistake_names_its_variable(name: str, text: str, said: str) -> None:
    problem = only_problem(**{name: text})
    assert problem.startswith(f"SEEDER_{name}: {said}")
    assert "hush" not in problem


def test_every_mistake_is_told_at_once_and_those_of_the_file_as_such(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text('peer = 5\n[[objects]]\nbucket = "quotes"\n[tracker]\ninterval = "never"\n')
    environment = {"SEEDER_X": "1", "SEEDER_CACHE__DISK": "?", "SEEDER_PEER__ALLOW": "[]"}
    heads = [each.partition(" = ")[0].partition(";")[0] for each in problems_of(environment, path)]
    assert sorted(heads) == [
        "SEEDER_CACHE__DISK: cache.disk",
        "SEEDER_X: unknown variable",
        "objects[0].key: missing",
        "peer",
        "tracker.interval",
    ]


def test_what_kubernetes_sets_for_a_service_named_seeder_is_no_key() -> None:
    links = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "6969",
        "SERVICE_PORT_TRACKER": "6969",
        "PORT": "tcp://10.0.0.1:6969",
        "PORT_6969_TCP": "tcp://10.0.0.1:6969",
        "PORT_6969_TCP_PROTO": "tcp",
        "PORT_6969_TCP_PORT": "6969",
        "PORT_6969_TCP_ADDR": "10.0.0.1",
    }
    for service in ("SEEDER_", "SEEDER_TRACKER_"):
        load(None, None, ONE_OBJECT | {service + name: text for name, text in links.items()})


def test_an_instance_is_filled_in(home: Path) -> None:
    environment = ONE_OBJECT | {"SEEDER_STATE_DIRECTORY": "node-%i"}
    assert load(None, "2", environment).state_directory == home / "node-2"
    (home / "node-7").mkdir()
    assert find_instances(None, environment) == ["7"]
    assert problems_of(environment)[0].startswith("SEEDER_STATE_DIRECTORY: state_directory: has %i")


def test_commands_run_without_a_file(home: Path) -> None:
    variables = ONE_OBJECT | {"SEEDER_TRACKER__ANNOUNCE_URL": "http://127.0.0.1:6969/announce"}
    done = CliRunner().invoke(main, ["check"], env=variables)
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "the environment: ok, 1 object")
    nothing = CliRunner().invoke(main, ["check"])
    assert nothing.exit_code == 2
    assert "Missing option '-c' / '--config'" in nothing.output
    assert "SEEDER_SECTION__KEY" in nothing.output
    wrong = CliRunner().invoke(main, ["check"], env={"SEEDER_OBJECT__0__KEY": "x"})
    assert wrong.exit_code == 2
    assert "did you mean SEEDER_OBJECTS__0__KEY?" in wrong.output
    (home / "seeder.toml").write_text('[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n')
    url = {"SEEDER_TRACKER__ANNOUNCE_URL": variables["SEEDER_TRACKER__ANNOUNCE_URL"]}
    named = CliRunner().invoke(main, ["check"], env={"SEEDER_CONFIG": "seeder.toml"} | url)
    assert named.output.splitlines()[0] == "seeder.toml: ok, 1 object"


def test_a_file_s_values_are_left_as_they_were(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n')
    configs: list[Config] = [load(path, None, {"SEEDER_OBJECTS__0__KEY": key}) for key in "ab"]
    assert [config.objects[0].key for config in configs] == ["a", "b"]
