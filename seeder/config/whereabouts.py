"""Where the running nodes of this machine are told what to do, as a configuration has it.

A file with mistakes tells it, too: whoever asks is about to hear of them. One that isn't there does
not: another node would be asked in its place. What no file says is looked for where systemd's units
and a user's own node have their state.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from seeder.config.directories import STATE, SYSTEM_FILE, instances_at
from seeder.config.environment import names_keys
from seeder.config.instances import PLACEHOLDER, has_place
from seeder.config.load import read_values
from seeder.config.node import CONTROL_SOCKET
from seeder.errors import ConfigError

OFF = "off"
"""What `socket` in [admin] is where there is to be none."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A node of this machine and its socket, which may be missing."""

    instance: str | None
    socket: Path


def find_nodes(
    path: Path | None,
    instance: str | None = None,
    environment: Mapping[str, str] = os.environ,
    system_file: Path = SYSTEM_FILE,
) -> list[Whereabouts]:
    """Return the nodes of a file, or the one that is named: those with a socket, or else the first.

    ConfigError if the file can't be opened, or says that there is no socket.
    """
    if path is not None:
        _open(path)
    is_system = path is None and not names_keys(environment) and os.path.isfile(system_file)
    if is_system:
        path = system_file
    values, home = read_values(path, environment)
    admin = values.get("admin")
    socket = admin.get("socket") if isinstance(admin, dict) else None
    if socket == OFF:
        raise ConfigError(
            [
                'admin.socket = "off": the node has no socket; take that line out, or use --url'
                " with --token-file"
            ]
        )
    named = socket if isinstance(socket, str) and socket else None
    patterns = [*_patterns(values, home, named, instance, environment)]
    for pattern in patterns:
        if found := [*_found(pattern, instance, several=has_place(values) or named is None)]:
            return found
    for pattern in reversed(patterns):
        place = pattern.replace(PLACEHOLDER, instance or "")
        if not _may_look(place):  # the service's; whoever asks there hears of it
            return [Whereabouts(instance, Path(place))]
    # Where it would be, were it there.
    alone = [each for each in patterns if instance or PLACEHOLDER not in each] or patterns
    likeliest = alone[-1 if is_system else 0].replace(PLACEHOLDER, instance or "1")
    return [Whereabouts(instance, Path(likeliest))]


def _open(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(
            [
                f"{path}: can't be read: {error.strerror or error}; name the file that the node"
                " runs by, or its socket by --socket"
            ]
        ) from error


def _patterns(
    values: Mapping[str, object],
    home: Path,
    socket: str | None,
    instance: str | None,
    environment: Mapping[str, str],
) -> Iterator[str]:
    """Yield where sockets may be, the likeliest first; %i is the place of an instance."""
    if socket is not None:
        yield str(home / Path(socket).expanduser())
        return
    written = values.get("state_directory")
    if isinstance(written, str) and written:
        yield f"{home / Path(written).expanduser()}/{CONTROL_SOCKET}"
        return
    of_systemd = environment.get(STATE.variable, "").partition(":")[0]
    own = os.path.expanduser(f"~/{STATE.below_home}")
    for directory in [of_systemd] if of_systemd else [own, STATE.of_units]:
        # The directory of an instance's unit has its name; that of a shell may be above it.
        if instance is None or (of_systemd and instance in Path(directory).name):
            yield f"{directory}/{CONTROL_SOCKET}"
        yield f"{directory}/{PLACEHOLDER}/{CONTROL_SOCKET}"


def _found(pattern: str, instance: str | None, *, several: bool) -> Iterator[Whereabouts]:
    """Yield the nodes whose socket is where a pattern says."""
    if PLACEHOLDER not in pattern:
        if os.path.lexists(pattern):
            yield Whereabouts(instance, Path(pattern))
        return
    names = [instance] if instance is not None else instances_at(pattern) if several else []
    for name in names:
        filled = pattern.replace(PLACEHOLDER, name)
        if os.path.lexists(filled):
            yield Whereabouts(name, Path(filled))


def _may_look(path: str) -> bool:
    """Tell whether we would see a socket there."""
    try:
        os.lstat(path)
    except PermissionError:
        return False
    except OSError:
        return True
    return True
