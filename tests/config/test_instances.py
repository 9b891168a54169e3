"""Several nodes run by one file: %i in it is the instance, where two of them must differ."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from seeder.cli import main
from seeder.config.instances import INSTANCED, of_instance
from seeder.config.load import find_instances, load
from seeder.config.sections import CacheSettings, Config
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


def test_a_file_for_one_node_has_no_instances(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text('[[objects]]\nbucket = "quotes"\nkey = "%i"\n')
    assert find_instances(path) is None
