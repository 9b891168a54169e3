"""What a configuration allows to be spent, and the lines that tell an operator how it stands."""

from collections.abc import Iterator

from seeder.config.sections import Config
from seeder.ledger.budget import Budget, Remaining, Spent
from seeder.ledger.counters import Counters
from seeder.ledger.limits import Level, Limit, Period, Resource, limits_of
from seeder.ledger.savings import Prices
from seeder.units import rounded_size, show_moment, show_money


def prices_of(config: Config) -> Prices:
    """Return what the origin charges."""
    settings = config.savings
    asked = settings.price_per_gb
    tiers = () if isinstance(asked, float) else asked
    first = asked if isinstance(asked, float) else next((price for _, price in asked if price), 0.0)
    return Prices(first, settings.price_per_1000_requests, settings.currency, tiers)


def budget_of(config: Config, *, totals: Counters, spent: Spent, now: float) -> Budget:
    """Return the configured budget, less what the ledger has counted in the periods of `now`."""
    limits = limits_of(config.budget.amounts())
    return Budget(limits, prices_of(config), totals=totals, spent=spent, now=now)


def change_budget(budget: Budget, config: Config, *, totals: Counters, now: float) -> None:
    """Set the limits and prices of another configuration; what was spent still counts."""
    limits = limits_of(config.budget.amounts())
    budget.change(limits, prices_of(config), totals=totals, now=now)


def explain_level(budget: Budget) -> str:
    """Return the line that says how far the node holds back, for which limit, until when."""
    if budget.level is Level.NORMAL:
        return "the budget holds nothing back any more"
    worst = _worst(budget)
    spent = worst.limit.show(worst.spent)
    until = show_moment(worst.resets_at)
    return f"{budget.level} until {until}: {spent} spent of {worst.limit}"


def name_level(budget: Budget) -> str:
    """Return the key in [budget] of the limit that has led to the level; "" without a limit."""
    return _worst(budget).limit.name if budget.left() else ""


def _worst(budget: Budget) -> Remaining:
    return max(budget.left(), key=lambda remaining: remaining.level)


def explain_limits(config: Config) -> Iterator[str]:
    """Yield a line for each configured limit: what it comes to, and whether it can be reached."""
    prices = prices_of(config)
    limits = limits_of(config.budget.amounts())
    monthly = {limit.resource: limit for limit in limits if limit.period is Period.MONTH}
    for limit in limits:
        line = f"{limit}{_worth(limit, prices)}"
        month = monthly.get(limit.resource)
        if limit.period is Period.DAY and month is not None and limit.amount > month.amount:
            line += f"; never reached, for {month.name} is less"
        yield line


def _worth(limit: Limit, prices: Prices) -> str:
    """Return what a limit costs or buys at `prices`; "" where that can't be said."""
    match limit.resource:
        case Resource.ORIGIN_BYTES | Resource.UPLOADED_BYTES:
            return f": costs {show_money(prices.money(int(limit.amount)))}"
        case Resource.ORIGIN_REQUESTS:
            return f": costs {show_money(prices.money(0, int(limit.amount)))}"
        case Resource.ORIGIN_MONEY | Resource.UPLOADED_MONEY:
            count = prices.buys(limit.amount)
            if count is None:
                return ""
            requests = limit.resource is Resource.ORIGIN_MONEY and prices.price_per_1000_requests
            return f": buys {rounded_size(count)}{', less the requests' if requests else ''}"
