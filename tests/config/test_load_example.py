"""What config/seeder.toml shows is taken, and it shows every key."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder.config.mistakes import TABLES
from seeder.config.objects import ObjectSettings
from seeder.config.public import ReadKeySettings
from seeder.config.sections import Config
from seeder.net.addresses import HostPort
from seeder.units import MIB
from tests.config.support import EXAMPLE, ONE_OBJECT, Load
from tests.support.handbook import PAGES

COMMENTED = r"^# (?=[\w\"/]+ = |\[)"


def test_the_example_is_taken_and_holds_every_default(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    url = '[tracker]\nannounce_url = "http://tracker.example.org:6969/announce"\n'
    assert read(example) == read(ONE_OBJECT + url)


def test_the_example_explains_every_key(read: Load, tmp_path: Path) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    written = tomllib.loads(re.sub(COMMENTED, "", example, flags=re.MULTILINE))
    for several in ("objects", "events"):
        written[several] = {
            key: value for entry in written[several] for key, value in entry.items()
        }
    assert written.keys() == (Config.model_fields.keys() - {"origins"}) | {"origin"}
    for name, table in TABLES.items():
        in_heading = {"name"} if name == "origin" else set()
        assert written[name].keys() == table.model_fields.keys() - in_heading, name
    keys = written["gateway"]["keys"]
    assert set().union(*keys) == ReadKeySettings.model_fields.keys()


def test_the_examples_behind_a_hash_are_right_as_well(read: Load, tmp_path: Path) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "nelson.torrent").write_bytes(b"de")
    (tmp_path / "ca.pem").write_bytes(b"")
    # A password comes from a file or a credential, and so does a token.
    example = re.sub(
        r'^# (password_credential|token_credential = "api-token").*',
        "",
        example,
        flags=re.MULTILINE,
    )
    example = example.replace('"redis://10', '"rediss://10')
    uncommented = re.sub(COMMENTED, "", example, flags=re.MULTILINE)
    uncommented = re.sub(r"/etc/seeder/(redis-)?ca\.pem", "ca.pem", uncommented)
    # The certificate comes from files or from systemd.
    from_systemd = re.sub(r"^(tls_certificate|tls_key) = .*\n", "", uncommented, flags=re.MULTILINE)
    assert read(from_systemd).tracker.tls_key_credential == "tls-key"
    config = read(re.sub(r"^tls_\w+_credential = .*\n", "", uncommented, flags=re.MULTILINE))
    assert config.tracker.tls_key == Path("/etc/seeder/privkey.pem")
    assert config.objects[0].piece_length == MIB
    assert [key.access_key_id for key in config.gateway.keys] == ["READER", "OTHER"]
    assert config.peer.public_address == (HostPort("203.0.113.7", 6881),)
    assert config.tracker.groups.keys() == {"eu/a", "eu/b", "office"}
    assert [each.name for each in config.events] == ["uploads", "minio", "ceph"]


def default_tables() -> Iterator[tuple[str, str, str]]:
    """Yield section, key and default of the handbook's tables that have a column for it."""
    for path in PAGES:
        section = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if heading := re.match(r"\| Key(?: in `\[(\w+)\]`)? \| Default \|", line):
                section = heading[1] or "objects"
            elif not line.startswith("|"):
                section = None
            elif section is not None and not line.startswith("|---"):
                first, second = line.split(" | ")[:2]
                keys = re.findall(r"`([\w.]+)`", first)
                defaults = second.split(", ")
                if len(defaults) != len(keys):
                    defaults = [second] * len(keys)
                for key, default in zip(keys, defaults, strict=True):
                    where, _, name = key.rpartition(".")
                    yield where or section, name, default.strip("`")


@pytest.mark.parametrize(("section", "key", "default"), [*default_tables()])
def test_the_handbook_has_the_defaults(read: Load, section: str, key: str, default: str) -> None:
    """Where it has words for one, there is none: the key may be left out."""
    try:
        tomllib.loads(f"{key} = {default}")
    except tomllib.TOMLDecodeError:
        assert ObjectSettings.model_fields[key].default is None or key == "metainfo"
        return
    one = ONE_OBJECT if section != "objects" else f"{ONE_OBJECT}{key} = {default}\n"
    more = f"[{section}]\n{key} = {default}\n" if section != "objects" else ""
    assert read(one + more) == read(ONE_OBJECT)
