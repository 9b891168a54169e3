"""Several nodes run by one file: %i in it is the instance, where two of them must differ."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from seeder.cli import main
from seeder.config.directories import CACHE, STATE
from seeder.config.instances import INSTANCED, of_instance
from seeder.config.load import doubt_instances, find_instances, load
from seeder.config.node import CacheSettings
from seeder.config.sections import Config
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort

FILE = """
state_directory = "/var/lib/seeder/%i"
[[objects]]
bucket = "quotes"
key = "100%inspired"
[tracker]
listen = ["0.0.0.0:6969", "0.0.0.0:697%i"]
udp_listen = ["0.0.0.0:6969"]
announce_url = "http://tracker.example.org:6969/announce"
[peer]
listen = ["0.0.0.0:688%i"]
public_address = "203.0.113.%i:688%i"
[cache]
directory = "/var/cache/seeder/%i"
[admin]
listen = ["127.0.0.1:918%i"]
"""
A_CONFIG = Config(
    state_directory=Path("state"),
    origins={},
    objects=(),
    cache=CacheSettings(directory=Path("cache")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seeder.toml"
    path.write_text(FILE)
    return path


def test_ports_and_directories_are_the_instances(file: Path) -> None:
    config = load(file, "3")
    assert config.state_directory == Path("/var/lib/seeder/3")
    assert config.cache.directory == Path("/var/cache/seeder/3")
    assert config.tracker.listen == (HostPort("0.0.0.0", 6969), HostPort("0.0.0.0", 6973))
    assert config.peer.listen == (HostPort("0.0.0.0", 6883),)
    assert config.peer.public_address == (HostPort("203.0.113.3", 6883),)
    assert config.admin.listen == (HostPort("127.0.0.1", 9183),)


def test_an_object_keeps_its_percent_sign(file: Path) -> None:
    [entry] = load(file, "3").objects
    assert entry.key == "100%inspired"


def test_without_an_instance_the_file_says_what_is_missing(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file)
    [problem] = caught.value.problems
    assert problem.startswith("state_directory: has %i")
    assert "--instance 1" in problem


def test_an_instance_that_makes_no_port_is_a_mistake_of_the_file(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, "99")
    assert any("0.0.0.0:69799" in line for line in caught.value.problems)


def test_nodes_without_directories_in_the_file_have_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n')
    first, second, alone = load(path, "1"), load(path, "2"), load(path)
    directories = {each.state_directory for each in (first, second, alone)}
    assert len(directories) == 3
    assert first.state_directory == alone.state_directory / "1"
    assert first.cache.directory == alone.cache.directory / "1"


def test_every_key_with_an_instance_exists() -> None:
    for section, keys in INSTANCED.items():
        fields = type(getattr(A_CONFIG, section)).model_fields
        assert set(keys) <= set(fields), section


def test_a_file_without_a_place_is_the_same_for_all() -> None:
    written = {"objects": [{"bucket": "quotes", "key": "%i"}], "peer": {"listen": ["0.0.0.0:1"]}}
    assert of_instance(written, None) == of_instance(written, "7") == written


def test_the_command_line_takes_it_as_an_option_or_from_the_environment(file: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["check", "-c", str(file)]).exit_code == 2
    assert run(main, ["check", "-c", str(file), "--instance", "2"]).exit_code == 0
    assert run(main, ["check", "-c", str(file)], env={"SEEDER_INSTANCE": "2"}).exit_code == 0
    refused = run(main, ["check", "-c", str(file), "--instance", "../2"])
    assert refused.exit_code == 2
    assert "such as 1" in refused.output


def test_the_instances_are_those_that_have_a_state_directory(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(FILE.replace("/var/lib/seeder/%i", "state/%i/of-%i"))
    assert find_instances(path) == []
    for name in ("10/of-10", "2/of-2", "3/of-4", "a b/of-a b"):
        (tmp_path / "state" / name).mkdir(parents=True)
    assert find_instances(path) == ["2", "10"]


def test_instances_are_looked_for_where_directories_are_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "lib"))
    path = tmp_path / "seeder.toml"
    path.write_text(FILE.replace('state_directory = "/var/lib/seeder/%i"', ""))
    (tmp_path / "lib" / "1").mkdir(parents=True)
    assert find_instances(path) == ["1"]


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the units', which says nothing of directories; home has none."""
    path = tmp_path / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("seeder.config.directories.SYSTEM_FILE", path)
    for module in ("directories", "load"):
        for name, which in (("STATE", STATE), ("CACHE", CACHE)):
            moved = which._replace(of_units=str(tmp_path / "var" / name.lower()))
            monkeypatch.setattr(f"seeder.config.{module}.{name}", moved)
    return path


def test_who_asks_by_the_units_file_finds_the_directories_of_the_service(
    units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "home/.local/state/seeder"
    own.mkdir(parents=True)
    assert load(units, beside=True).state_directory == own, "there is no service"
    (tmp_path / "var/state").mkdir(parents=True)
    (tmp_path / "var/cache").mkdir()
    config = load(units, beside=True)
    assert config.state_directory == tmp_path / "var/state"
    assert config.cache.directory == tmp_path / "var/cache"
    assert load(units, "2", beside=True).state_directory == tmp_path / "var/state/2"
    assert load(units).state_directory == own, "the node itself goes by what systemd says"
    copy = tmp_path / "copy.toml"
    copy.write_text(units.read_text())
    assert load(copy, beside=True).state_directory == own, "another file is of another node"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "said"))
    assert load(units, beside=True).state_directory == tmp_path / "said"


def test_before_its_first_start_the_directories_of_the_service_are_meant_too(
    units: Path, tmp_path: Path
) -> None:
    config = load(units, beside=True)
    assert config.state_directory == tmp_path / "var/state"
    assert config.cache.directory == tmp_path / "var/cache"
    own = tmp_path / "home/.local/state/seeder"
    assert load(units).state_directory == own, "the node itself goes by what systemd says"


def test_instances_of_the_units_are_looked_for_in_their_directory(
    units: Path, tmp_path: Path
) -> None:
    units.write_text(f'{units.read_text()}[cluster]\nname = "node-%i"\n')
    (tmp_path / "var/state/7").mkdir(parents=True)
    assert find_instances(units) == ["7"]


def test_a_file_for_one_node_has_no_instances(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "%i"\n')
    assert find_instances(path) is None


# -- what two instances must not have in common


def without(text: str) -> str:
    """Return the file without a place in a line that holds a text."""
    lines = [
        line.replace("%i", "1") if line.startswith(text) else line for line in FILE.split("\n")
    ]
    assert lines != FILE.split("\n")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("line", "key"), [("state_directory", "state_directory"), ("directory", "cache.directory")]
)
def test_a_directory_of_all_instances_is_refused(tmp_path: Path, line: str, key: str) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(without(line))
    for name in ("1", "2"):
        with pytest.raises(ConfigError) as caught:
            load(path, name)
        [problem] = caught.value.problems
        assert problem.startswith(f"{key} = ")
        assert "/1/%i" in problem


def test_a_directory_that_is_said_to_one_node_alone_is_its_own(file: Path) -> None:
    for name, ok in (("2", True), ("3", False)):
        said = {"SEEDER_STATE_DIRECTORY": "/srv/node-2"}
        if ok:
            assert load(file, name, said).state_directory == Path("/srv/node-2")
        else:
            with pytest.raises(ConfigError):
                load(file, name, said)


@pytest.mark.parametrize("variable", ["STATE_DIRECTORY", "CACHE_DIRECTORY"])
def test_a_unit_that_gives_all_instances_one_directory_is_refused(
    tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n')
    monkeypatch.setenv(variable, f"{tmp_path}/seeder/2")
    found = load(path, "2")
    assert f"{tmp_path}/seeder/2" in map(str, (found.state_directory, found.cache.directory))
    monkeypatch.setenv(variable, "/var/lib/seeder")
    with pytest.raises(ConfigError) as caught:
        load(path, "2")
    [problem] = caught.value.problems
    assert "Directory=seeder/%i into the unit" in problem
    load(path)  # one node by itself


@pytest.mark.parametrize("name", ["1", "3"])
def test_no_two_instances_of_a_file_that_is_taken_share_a_directory(file: Path, name: str) -> None:
    first, second = load(file, name), load(file, "2")
    theirs = {second.state_directory, second.cache.directory}
    assert not {first.state_directory, first.cache.directory} & theirs


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (FILE, []),
        (without("public_address"), ["peer.public_address"]),
        (FILE.replace('"127.0.0.1:918%i"', '"127.0.0.1:9180"'), ["admin.listen"]),
        (FILE.replace('"0.0.0.0:688%i"', '"0.0.0.0:0"'), []),
        (FILE + '[cluster]\nname = "node"\nurl = "http://a"\n', ["cluster.name", "cluster.url"]),
        (FILE + '[cluster]\nname = "node-%i"\n', []),
        ("", ["peer.listen", "admin.listen"]),
    ],
)
def test_what_all_instances_have_in_common_is_warned_of(
    tmp_path: Path, text: str, keys: list[str]
) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(text)
    lines = list(doubt_instances(path, "2"))
    assert [line.partition(":")[0] for line in lines] == keys
    assert list(doubt_instances(path, None)) == []
    said = {"SEEDER_ADMIN__LISTEN": '["127.0.0.1:9181"]', "SEEDER_PEER__LISTEN": '["0.0.0.0:1"]'}
    mine = [line.partition(":")[0] for line in doubt_instances(path, "2", said)]
    assert mine == [key for key in keys if not key.endswith(".listen")]


def test_check_warns_of_it(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(without('listen = ["127'))
    found = CliRunner().invoke(main, ["check", "-c", str(path), "--instance", "2"])
    assert found.exit_code == 0, found.output
    assert "warning: admin.listen: is the same for every instance" in found.output
