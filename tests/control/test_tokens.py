"""The token of the control API, read from a file or a credential and never shown."""

from pathlib import Path

import pytest

from seeder.config.node import AdminSettings
from seeder.control.tokens import read_token, token_is_out_of_reach
from seeder.errors import ConfigError

TOKEN = "a-token-of-24-characters"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", "A" * 256, "ab+/~._-" * 3 + "=="])
def test_a_line_is_the_token(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "t", text)
    assert read_token(AdminSettings(token_file=file)) == text.strip()
    credential = AdminSettings(token_credential="t")
    assert token_is_out_of_reach(credential, {})
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert not token_is_out_of_reach(credential, environment)
    assert read_token(credential, environment) == text.strip()


def test_there_may_be_none() -> None:
    assert read_token(AdminSettings()) is None


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("short-token", 0o600, "want one line of 16 to 256"),
        (f"{TOKEN} {TOKEN}", 0o600, "want one line"),
        (f"{TOKEN}\n{TOKEN}\n", 0o600, "want one line"),
        (TOKEN, 0o644, "others can read or change"),
    ],
)
def test_what_is_none_is_told_and_not_shown(
    tmp_path: Path, text: str, mode: int, told: str
) -> None:
    file = write(tmp_path / "t", text, mode)
    with pytest.raises(ConfigError, match=told) as refused:
        read_token(AdminSettings(token_file=file))
    assert str(refused.value).startswith(f"admin.token_file: {file}" if mode == 0o600 else "admin.")
    assert text.strip() not in str(refused.value)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for admin, told in (
        (AdminSettings(token_file=tmp_path / "none"), "admin.token_file: .*none can't be read"),
        (AdminSettings(token_credential="t"), "admin.token_credential: .*LoadCredential=t:PATH"),
    ):
        with pytest.raises(ConfigError, match=told):
            read_token(admin, {})
