"""The configurations that a command is about; where one can't be used, the command ends."""

from collections.abc import Callable
from pathlib import Path

from seeder.commands.ending import complain_plainly, fail
from seeder.commands.links import links_of
from seeder.config.added import with_added
from seeder.config.load import find_instances, load
from seeder.config.sections import Config
from seeder.errors import ConfigError, StorageError


def load_or_fail(
    path: Path | None,
    instance: str | None,
    complain: Callable[[str], None] = complain_plainly,
    *,
    beside: bool = True,
) -> Config:
    """Return a configuration by which a node could run; else the command ends.

    `beside` is False for the node itself (see `load`).
    """
    try:
        config = load(path, instance, beside=beside)
        links_of(config)
    except ConfigError as error:
        fail(error, complain)
    return config


def instances_of(path: Path | None) -> list[str | None]:
    """Return the instances that have run on this machine by a file; None is a node by itself."""
    try:
        found = find_instances(path)
    except ConfigError as error:
        fail(error)
    # Where none has run yet, the message about a missing ledger names the first one's.
    return [None] if found is None else [*found] or ["1"]


def configs_of(path: Path | None, instance: str | None) -> list[Config]:
    """Return the configurations of all nodes that run by a file, or of the one that is named."""
    instances = [instance] if instance is not None else instances_of(path)
    return [load_or_fail(path, each) for each in instances]


def all_published(config: Config) -> Config:
    """Return a configuration with what was added at run time, as far as that can be read."""
    try:
        return with_added(config)
    except StorageError as error:
        complain_plainly(f"warning: {error}; what was added at run time is left out")
        return config
