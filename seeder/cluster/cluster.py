"""A node's part in its cluster, built of the settings: the store, the members, how they stand."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex

import trio

from seeder.cluster.bans import SharedBans
from seeder.cluster.budgets import BudgetLease
from seeder.cluster.clock import SharedClock
from seeder.cluster.entries import SharedEntries
from seeder.cluster.exchange import SwarmExchange
from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.password import read_password
from seeder.cluster.register import SharedRegister
from seeder.cluster.store import Store
from seeder.config.fields import SourceFile
from seeder.config.node import ClusterSettings
from seeder.config.secrets import CREDENTIALS
from seeder.errors import ConfigError
from seeder.files import read_file, replace_file, storage_errors
from seeder.ledger.budget import Budget
from seeder.net.bans import Ban
from seeder.tracker.swarms import Swarms

TOKEN = "node"
"""Below the state directory: what tells this node from another one of the same name."""
_TOKEN_LENGTH = 32
# By its name the package index has another program.
_EXTRA = 'takes the extra "redis": pip install ".[redis]" in the repository, or "./WHEEL[redis]"'


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """What the parts of a node have of the cluster; `run` has to run for it."""

    settings: ClusterSettings
    keys: Keys
    store: Store
    clock: SharedClock
    health: Health
    membership: Membership

    @property
    def fault(self) -> str | None:
        """Why the node is on its own, in a line; None while it isn't."""
        if self.membership.refused:
            return self.membership.refused
        fault = self.health.fault
        return None if fault is None else f"the store of the cluster {fault}"

    def share(self, swarms: Swarms) -> SwarmExchange:
        """Return what makes these swarms one with those of the other nodes, while it runs.

        None of them is open yet.
        """
        return SwarmExchange(
            swarms,
            store=self.store,
            keys=self.keys,
            clock=self.clock,
            health=self.health,
            membership=self.membership,
        )

    def share_register(self) -> SharedRegister:
        """Return what makes the register of passkeys one with the others', while it runs."""
        return SharedRegister(
            store=self.store, keys=self.keys, health=self.health, membership=self.membership
        )

    def share_bans(self, heard: Callable[[Iterable[Ban]], object]) -> SharedBans:
        """Return what makes the bans one with the others', while it runs; `heard` is told."""
        return SharedBans(
            store=self.store,
            keys=self.keys,
            health=self.health,
            membership=self.membership,
            heard=heard,
        )

    def share_entries(self, source: SourceFile) -> SharedEntries:
        """Return what makes the entries that were added known to all nodes, while it runs.

        `source` is what the others' are checked against.
        """
        return SharedEntries(
            source,
            store=self.store,
            keys=self.keys,
            health=self.health,
            membership=self.membership,
        )

    def spend(self, budget: Budget) -> BudgetLease:
        """Return what has the nodes spend a budget together, while it runs."""
        return BudgetLease(
            budget,
            store=self.store,
            keys=self.keys,
            health=self.health,
            membership=self.membership,
            nodes=self.settings.replicas,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part in the cluster until cancelled.

        It has started once the store has answered for the first time, or failed to.
        """
        connected = trio.CancelScope(shield=True)  # for the farewell

        async def connect() -> None:
            with connected:
                await self.store.run_links()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            try:
                await self.membership.run(task_status=task_status)
            finally:
                connected.cancel()


def make_cluster(settings: ClusterSettings, name: str, state: Path) -> Cluster | None:
    """Return the node's part in the cluster; None where the settings name no store.

    `name` is this node's where the settings have none, `state` its state directory, which is
    locked. ConfigError, StorageError. A store that is away is no error.
    """
    if settings.store is None:
        return None
    try:
        # An extra, which takes half a second to import.
        from seeder.cluster.redis import RedisStore, address_of  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError([f"cluster.store: {_EXTRA} ({error})"]) from error
    address = address_of(settings, read_password(settings))
    return cluster_over(RedisStore(address, settings.name or name), settings, name, state)


def explain_cluster(
    settings: ClusterSettings, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield a line that says which cluster a node is of, if any; ConfigError.

    A password that only a systemd service can read isn't looked at, unless we are one.
    """
    if settings.store is None:
        return
    if find_spec("coredis") is None:
        raise ConfigError([f"cluster.store: {_EXTRA}"])
    if settings.password_credential is None or environment.get(CREDENTIALS):
        read_password(settings, environment)
    count = settings.replicas
    yield (
        f"cluster: the nodes that share {shown(settings.store)} (prefix {settings.prefix}); each"
        f" object is seeded by {count} of them (cluster.replicas)"
    )


def cluster_over(store: Store, settings: ClusterSettings, name: str, state: Path) -> Cluster:
    """Return the node's part in a cluster over this store; StorageError."""
    keys = Keys(settings.prefix)
    clock = SharedClock(trio.current_time, time.time())
    health = Health(shown(str(settings.store)), time.time)
    membership = Membership(
        settings.name or name,
        read_token(state),
        store=store,
        keys=keys,
        clock=clock,
        health=health,
    )
    return Cluster(settings, keys, store, clock, health, membership)


def read_token(state: Path) -> str:
    """Return the token of a state directory, made at the first time; StorageError."""
    path = state / TOKEN
    try:
        text = (read_file(path, _TOKEN_LENGTH + 1) or b"").strip()
    except OSError:  # whatever lies there is replaced, or can't be
        text = b""
    if len(text) == _TOKEN_LENGTH and text.isalnum():
        return text.decode()
    token = token_hex(_TOKEN_LENGTH // 2)
    with storage_errors(path, "written"):
        replace_file(path, [token.encode() + b"\n"], durable=True)
    return token


def shown(store: str) -> str:
    """Return a store's URL without its user."""
    return re.sub("//[^/]*@", "//", store)
