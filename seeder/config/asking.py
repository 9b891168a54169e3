"""Where a node is asked how it is, as a configuration has it, whatever else is wrong there.

A daemon goes on by what it read once, while its file is being edited.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from seeder.config.directories import STATE, default_directory, is_of_units
from seeder.config.fields import Directory, Settings, SourceFile
from seeder.config.instances import of_instance
from seeder.config.load import read_values
from seeder.config.node import AdminSettings

_ADMIN = ("listen", "socket")


class AskedAt(Settings):
    """What of a configuration says where its node is asked; of [admin] no more than that."""

    state_directory: Directory
    admin: AdminSettings = AdminSettings()

    @property
    def control_socket(self) -> Path | None:
        """The socket that is for the daemon's own account; None if there is none."""
        return self.admin.control_socket(self.state_directory)


def asked_at(
    path: Path | None,
    instance: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> AskedAt:
    """Return where the node of a file and the environment is asked; by default, where these say
    nothing that can be used."""
    values, home = read_values(path, environment)
    admin = values.get("admin")
    known = {key: admin[key] for key in _ADMIN if key in admin} if isinstance(admin, dict) else {}
    default = _place(default_directory(STATE, instance, of_units=is_of_units(path)))
    state: dict[str, object] = {"state_directory": default}
    source = SourceFile(home, frozenset())
    try:
        raw = of_instance({**state, **values, "admin": known}, instance)
        said = {key: raw[key] for key in AskedAt.model_fields}
        return AskedAt.model_validate(said, context=source)
    except ValueError:  # pydantic's errors, too
        return AskedAt.model_validate(state, context=source)


def _place(directory: str) -> str:
    """Return a directory that is below home; without a home, one that isn't there."""
    try:
        return str(Path(directory).expanduser())
    except RuntimeError:
        return f"/{directory}"
