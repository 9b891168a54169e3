"""Where a node is asked, whatever is wrong around whoever asks."""

import pwd
from pathlib import Path

import pytest

from seeder.config.asking import asked_at
from seeder.net.addresses import HostPort


@pytest.mark.parametrize("written", ['listen = ["127.0.0.1:1"]', "listen = []"])
def test_who_has_no_home_asks_where_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    # As a user of a container who has no entry in /etc/passwd.
    def nobody(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    path = tmp_path / "seeder.toml"
    path.write_text(f"[admin]\n{written}\n")
    places = asked_at(path, environment={})
    assert places.admin.listen == ((HostPort("127.0.0.1", 1),) if "1:1" in written else ())
    assert places.control_socket is not None
    assert not places.control_socket.exists()
