"""Commands find the sockets of the nodes that run here, whatever is wrong with the file."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from seeder.config.directories import STATE
from seeder.config.load import load
from seeder.config.whereabouts import Whereabouts, find_nodes
from seeder.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and nothing of the machine's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    state = STATE._replace(of_units=str(tmp_path / "system"))
    monkeypatch.setattr("seeder.config.whereabouts.STATE", state)
    return tmp_path


def find(
    path: Path | None, instance: str | None = None, **environment: str
) -> list[tuple[str | None, Path]]:
    found = find_nodes(path, instance, environment, Path("/nonexistent"))
    return [(each.instance, each.socket) for each in found]


def socket_in(directory: Path) -> Path:
    directory.mkdir(parents=True)
    path = directory / "control.sock"
    path.touch()
    return path


def test_the_file_s_state_directory_has_it(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text('state_directory = "here"\n')
    assert find(path) == [(None, home / "here" / "control.sock")]
    path.write_text('state_directory = "here"\n[admin]\nsocket = "/run/s.sock"\n')
    assert find(path) == [(None, Path("/run/s.sock"))]


@pytest.mark.parametrize(
    "mistake",
    ["[[[\n", 'x = "\n', "[admin]\nlisten = [\n", "[nonsense]\nx = 1\n", "a.b = 1\na = 1\n"],
)
def test_a_file_with_mistakes_tells_it_too(home: Path, mistake: str) -> None:
    path = home / "seeder.toml"
    path.write_text(f'state_directory = "here"\n{mistake}')
    with pytest.raises(ConfigError):
        load(path, environment={})
    assert find(path) == [(None, home / "here" / "control.sock")]


def test_a_file_that_is_not_there_stands_for_no_other_node(home: Path) -> None:
    socket_in(home / ".local/state/seeder")
    path = home / "typo.toml"
    with pytest.raises(ConfigError, match=f"{path}: can't be read: No such file.*--socket"):
        find(path)
    path.write_text("")
    assert find(path) == [(None, home / ".local/state/seeder/control.sock")]


@pytest.mark.parametrize("mistake", ["[[[\n", "watch = yes\n", 'x = "\n', "objects = [\n"])
def test_a_mistake_above_its_state_directory_leads_to_no_other_node(
    home: Path, mistake: str
) -> None:
    socket_in(home / ".local/state/seeder")
    path = home / "seeder.toml"
    path.write_text(f"{mistake}state_directory = 'here' # ours\n")
    assert find(path) == [(None, home / "here" / "control.sock")]


def test_without_a_file_it_is_where_systemd_says_or_a_node_of_one_s_own_is(home: Path) -> None:
    own = home / ".local/state/seeder"
    assert find(None) == [(None, own / "control.sock")]
    of_system = socket_in(home / "system")
    assert find(None) == [(None, of_system)]
    mine = socket_in(own)
    assert find(None) == [(None, mine)]
    elsewhere = home / "elsewhere"
    assert find(None, STATE_DIRECTORY=str(elsewhere)) == [(None, elsewhere / "control.sock")]


def test_all_instances_with_a_socket_are_found_and_one_by_its_name(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text('state_directory = "state/%i"\n')
    assert find(path) == [(None, home / "state/1/control.sock")]
    first, tenth, second = (socket_in(home / "state" / name) for name in ("1", "10", "2"))
    (home / "state/3").mkdir()
    assert find(path) == [("1", first), ("2", second), ("10", tenth)]
    assert find(path, "2") == [("2", second)]
    assert find(path, "3") == [("3", home / "state/3/control.sock")]


def test_instances_of_units_are_found_without_a_file(home: Path) -> None:
    first, second = (socket_in(home / "system" / name) for name in ("1", "2"))
    assert find(None) == [("1", first), ("2", second)]
    assert find(None, "2") == [("2", second)]
    # As within the unit of an instance, whose directory has its name.
    assert find(None, "2", STATE_DIRECTORY=str(second.parent)) == [("2", second)]
    assert find(None, "2", STATE_DIRECTORY=str(home / "system")) == [("2", second)]


def test_a_socket_s_own_place_may_have_the_instance(home: Path) -> None:
    path = home / "seeder.toml"
    path.write_text('[admin]\nsocket = "run/%i.sock"\n')
    (home / "run").mkdir()
    for name in ("a", "b"):
        (home / "run" / f"{name}.sock").touch()
    assert [name for name, _ in find(path)] == ["a", "b"]
    assert find(path, "b") == [("b", home / "run/b.sock")]


def test_no_socket_at_all_is_one_line(home: Path) -> None:
    with pytest.raises(ConfigError, match=r'admin.socket = "off": the node has no socket'):
        find(None, SEEDER_ADMIN__SOCKET="off")


def test_the_units_file_is_meant_where_none_is_named(home: Path) -> None:
    path = home / "etc.toml"
    path.write_text('state_directory = "/srv/seeder"\n')
    nothing: Mapping[str, str] = {}
    path.write_text("")
    assert find_nodes(None, None, nothing, path) == [
        Whereabouts(None, home / "system" / "control.sock")
    ]
    path.write_text('state_directory = "/srv/seeder"\n')
    assert find_nodes(None, None, nothing, path) == [
        Whereabouts(None, Path("/srv/seeder/control.sock"))
    ]


def test_a_service_whose_directory_is_closed_to_us_is_found_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = str(home)
    looked = os.lstat

    def refuse(path: str) -> os.stat_result:
        if str(path).startswith(closed):
            raise PermissionError(13, "Permission denied")
        return looked(path)

    monkeypatch.setattr(os, "lstat", refuse)
    assert find(None) == [(None, home / "system" / "control.sock")]
    assert find(None, "2") == [("2", home / "system" / "2" / "control.sock")]


def test_a_file_of_the_units_that_is_closed_to_us_says_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_system, looked = socket_in(home / "system"), os.stat

    def refuse(path: str | Path, **named: bool) -> os.stat_result:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied")
        return looked(path, **named)

    monkeypatch.setattr(os, "stat", refuse)
    assert find_nodes(None, None, {}, home / "closed/seeder.toml") == [Whereabouts(None, of_system)]
