"""What a node is told of its cluster before it starts, and by what it knows itself again."""

from pathlib import Path

import pytest

from seeder.cluster import cluster
from seeder.cluster.cluster import explain_cluster, make_cluster, read_token, shown
from seeder.config.node import ClusterSettings
from seeder.errors import ConfigError

URL = "redis://10.0.0.5:6379"


def test_check_says_which_cluster_it_is(tmp_path: Path) -> None:
    assert list(explain_cluster(ClusterSettings())) == []
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a long one, with blanks\n")
    settings = ClusterSettings(store="redis://user@10.0.0.5:6379", password_file=password)
    assert list(explain_cluster(settings)) == [
        "cluster: the nodes that share redis://10.0.0.5:6379 (prefix seeder); each object is"
        " seeded by 2 of them (cluster.replicas)"
    ]
    password.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read or change"):
        list(explain_cluster(settings))
    unseen = ClusterSettings(store=URL, password_credential="redis")
    assert list(explain_cluster(unseen, {}))
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        list(explain_cluster(unseen, {"CREDENTIALS_DIRECTORY": str(tmp_path)}))


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'takes the extra "redis": pip install "\.\[redis\]"'):
        list(explain_cluster(ClusterSettings(store=URL)))


def test_a_node_by_itself_has_no_cluster(tmp_path: Path) -> None:
    assert make_cluster(ClusterSettings(), "name", tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"short\n", b"\xff" * 32, b"x" * 33])
def test_a_state_directory_keeps_its_token(tmp_path: Path, damage: bytes) -> None:
    token = read_token(tmp_path)
    assert read_token(tmp_path) == token
    assert read_token(tmp_path / "other") != token
    (tmp_path / "node").write_bytes(damage)
    if len(damage) > 32:
        (tmp_path / "node").unlink()
    other = read_token(tmp_path)
    assert other != token
    assert read_token(tmp_path) == other


def test_a_store_is_shown_without_its_user() -> None:
    assert shown("rediss://user@h:1/2") == "rediss://h:1/2"
    assert shown("unix://user@/run/redis.sock?db=1") == "unix:///run/redis.sock?db=1"
