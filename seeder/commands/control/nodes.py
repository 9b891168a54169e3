"""Which nodes a verb is for: of this machine, found as a configuration has them, or of a URL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seeder.commands.control.client import ControlClient, RemoteNode
from seeder.config.whereabouts import Whereabouts, find_nodes
from seeder.errors import ConfigError, ControlFailed, ControlRefused

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class NodesWanted:
    """What options say of where nodes are."""

    path: Path | None = None
    instance: str | None = None
    socket: Path | None = None
    url: str | None = None
    token_file: Path | None = None

    def nodes(self) -> list[Whereabouts | RemoteNode]:
        """Return the nodes that are meant, one at least; ConfigError."""
        if self.url is not None:
            if self.socket is not None:
                raise ConfigError(["--url, --socket: choose one"])
            if self.token_file is None:
                raise ConfigError(["--url: want --token-file, too: the file of admin.token_file"])
            return [RemoteNode(self.url, self.token_file)]
        if self.token_file is not None:
            raise ConfigError(["--token-file: goes with --url; a socket needs no token"])
        if self.socket is not None:
            return [Whereabouts(self.instance, self.socket)]
        return [*find_nodes(self.path, self.instance)]

    @contextmanager
    def one(self) -> Iterator[ControlClient]:
        """Yield the first node that answers, for what is shared by all; ControlFailed."""
        nodes = self.nodes()
        for place, node in enumerate(nodes, 1):
            with ControlClient(node) as client:
                if place < len(nodes) and not _answers(client):
                    continue
                yield client
                return

    def each(
        self, ask: Callable[[ControlClient], _T]
    ) -> tuple[list[tuple[str | None, _T]], list[ControlFailed]]:
        """Ask every node; return what came of it by the nodes' instances, and what went wrong.

        Of several, what goes wrong begins with the node's name.
        """
        told: list[tuple[str | None, _T]] = []
        faults: list[ControlFailed] = []
        nodes = self.nodes()
        for node in nodes:
            with ControlClient(node) as client:
                try:
                    told.append((client.instance, ask(client)))
                except ControlFailed as error:
                    faults.append(error if len(nodes) == 1 else _of(client.instance, error))
        return told, faults


def _of(instance: str | None, error: ControlFailed) -> ControlFailed:
    """Return an error that names the node."""
    name = f"{instance or 'the node'}: "
    if isinstance(error, ControlRefused):
        problems = [f"{name}{each}" for each in error.problems]
        return ControlRefused(f"{name}{error}", error.status, problems)
    return ControlFailed(f"{name}{error}")


def _answers(client: ControlClient) -> bool:
    try:
        client.ask("")
    except ControlFailed:
        return False
    return True
