from pathlib import Path

import pytest

from seeder.config.load import load
from seeder.config.sections import Config
from tests.config.support import Load


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as a configuration file, without systemd's variables."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def read(text: str) -> Config:
        path = tmp_path / "seeder.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read
