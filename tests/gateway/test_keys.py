"""Secrets of access keys come from files that others can't read, or from systemd."""

import os
from pathlib import Path

import pytest

from seeder.config.public import GatewaySettings, ReadKeySettings
from seeder.errors import ConfigError
from seeder.gateway.keys import out_of_reach, read_keys

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def settings(**secret: object) -> GatewaySettings:
    key = ReadKeySettings.model_validate({"access_key_id": "READER", "objects": ["a/*"], **secret})
    return GatewaySettings(keys=(key,))


def secret_file(directory: Path, content: bytes = SECRET.encode(), mode: int = 0o600) -> Path:
    path = directory / "reader"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_secret_is_the_one_line_of_its_file(tmp_path: Path, end: str, mode: int) -> None:
    path = secret_file(tmp_path, (SECRET + end).encode(), mode)
    [key] = read_keys(settings(secret_file=path))
    assert (key.access_key_id, key.secret, key.objects) == ("READER", SECRET, ("a/*",))


def test_a_credential_is_where_systemd_puts_it(tmp_path: Path) -> None:
    secret_file(tmp_path, mode=0o440)
    wanted = settings(secret_credential="reader")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    [key] = read_keys(wanted, environment)
    assert key.secret == SECRET
    assert list(out_of_reach(wanted, environment)) == []
    assert list(out_of_reach(wanted, {})) == ["READER"]
    assert read_keys(wanted, {}, without=["READER"]) == ()
    with pytest.raises(ConfigError, match="LoadCredential=reader:PATH"):
        read_keys(wanted, {})


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o666])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        read_keys(settings(secret_file=path))


@pytest.mark.parametrize(
    "content", [b"", b"short-secret", b"two words in one line", SECRET.encode() + b"\nmore\n"]
)
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ConfigError, match="want one line of 16 to 128") as caught:
        read_keys(settings(secret_file=secret_file(tmp_path, content)))
    assert not content or content.decode() not in str(caught.value)


def test_every_secret_that_can_not_be_had_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o600)
    keys = [
        settings(secret_file=tmp_path / name).keys[0].model_copy(update={"access_key_id": name})
        for name in ("gone", "pipe", ".")
    ]
    with pytest.raises(ConfigError) as caught:
        read_keys(GatewaySettings(keys=tuple(keys)))
    assert [problem.partition(": the secret of ")[::2] for problem in caught.value.problems] == [
        ("gateway.keys[0]", f"gone: {tmp_path}/gone can't be read: No such file or directory"),
        ("gateway.keys[1]", f"pipe: {tmp_path}/pipe is no file"),
        ("gateway.keys[2]", f".: {tmp_path} can't be read: Is a directory"),
    ]
