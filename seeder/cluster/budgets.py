"""A budget that the nodes of a cluster spend together, leased in slices.

Once a second a node says what it has spent of each limit and is
granted half of what is left and promised to nobody. So the promises never exceed the limit; among
so many nodes that ask again and again each comes to hold an equal part of the rest, and the parts
become smaller as the limit comes near. A promise that isn't renewed ends after a minute, but what
was spent stays. While the store is away a node spends what it was granted, and then its fair part
of what was left: all of them together still keep to the limit.
"""

import time
from dataclasses import replace
from math import inf

import trio

from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.scripts import LEASE
from seeder.cluster.store import Argument, Reply, Store, listed, numbered, texted
from seeder.ledger.budget import Budget, Grant, Stake
from seeder.ledger.limits import Resource
from seeder.units import MIB

LEASE_EVERY = 1.0
"""Seconds between two leases."""
LEASE_HOLDS = 60
"""Seconds after which a promise ends that isn't renewed."""
LEAST_PART = 0.001
"""Share of a limit that is granted at a time at least, as long as there is so much."""
LEAST_BYTES = 16 * MIB
KEPT = 2 * 86_400
"""Seconds for which a period's spending is kept when it is over."""


class BudgetLease:
    """Keeps a node's budget to what the cluster grants it; `run` has to run for that."""

    def __init__(
        self,
        budget: Budget,
        *,
        store: Store,
        keys: Keys,
        health: Health,
        membership: Membership,
        nodes: int,
    ) -> None:
        """`nodes` is how many there are likely to be, as long as that isn't known."""
        self._budget = budget
        self._store = store
        self._keys = keys
        self._health = health
        self._membership = membership
        self._nodes = nodes
        self._granted: tuple[Grant, ...] = ()
        budget.begin_sharing(nodes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lease, until cancelled; it has started when the first answer came, or none."""
        await self._try_lease()
        task_status.started()
        while True:
            await trio.sleep(LEASE_EVERY)
            await self._try_lease()

    async def _try_lease(self) -> None:
        stakes = self._budget.stakes()
        if not stakes:
            self._health.works("budget")
            return
        if not await self._health.attempt("budget", self._lease(stakes)):
            self._budget.share(self._fair_parts(), self._nodes)

    async def _lease(self, stakes: tuple[Stake, ...]) -> None:
        arguments: list[Argument] = [self._membership.name, LEASE_HOLDS]
        for stake in stakes:
            seconds = max(0, int(stake.ends - time.time())) + KEPT
            arguments += (repr(float(stake.limit.amount)), repr(float(stake.spent)))
            arguments += (repr(_least(stake)), seconds, repr(float(self._others(stake))))
        keys = [self._keys.budget(stake.limit.name, stake.period) for stake in stakes]
        reply = listed(await self._store.run(LEASE, keys, arguments))
        grants = tuple(
            Grant(stake, _amount(others), _amount(upto))
            for stake, others, upto in zip(stakes, reply[::3], reply[1::3], strict=True)
        )
        if self._membership.is_patient:
            # Others may not have said yet what they spent while the store was away.
            upto = {grant.stake.limit: grant.upto for grant in self._fair_parts()}
            grants = tuple(
                replace(each, upto=min(each.upto, upto.get(each.stake.limit, each.upto)))
                for each in grants
            )
            self._budget.share(grants, self._nodes)
            return
        self._nodes = max(1, len(self._membership.names), *map(numbered, reply[2::3]))
        self._granted = grants
        self._budget.share(grants, self._nodes)

    def _others(self, stake: Stake) -> float:
        """Return what is known of what the others have spent: never less than before."""
        return max(
            (
                grant.others
                for grant in self._granted
                if (grant.stake.limit, grant.stake.period) == (stake.limit, stake.period)
            ),
            default=0.0,
        )

    def _fair_parts(self) -> tuple[Grant, ...]:
        """Return a fair part of what was left when the store was last asked."""
        fair = []
        for grant in self._granted:
            stake = grant.stake
            left = max(0.0, stake.limit.amount - grant.others - stake.spent)
            upto = max(grant.upto, stake.spent + left / self._nodes)
            fair.append(Grant(stake, grant.others, upto))
        return tuple(fair)


def _least(stake: Stake) -> float:
    """Return the least that is worth granting of a limit."""
    part = stake.limit.amount * LEAST_PART
    in_bytes = stake.limit.resource in (Resource.ORIGIN_BYTES, Resource.UPLOADED_BYTES)
    return max(part, LEAST_BYTES) if in_bytes else part


def _amount(reply: Reply) -> float:
    amount = float(texted(reply))
    if not 0.0 <= amount < inf:
        raise ValueError(f"an amount was expected of the store, not {amount}")
    return amount
