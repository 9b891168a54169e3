"""How a node stands, on one screen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from seeder.commands.control.details import aligned
from seeder.commands.control.object_table import Row, name_of, without_name
from seeder.commands.texts import printable
from seeder.ledger.limits import Level, Limit, Period, Resource
from seeder.torrent.publications import State
from seeder.units import counted, rounded_size, rounded_time, show_moment

Figures: TypeAlias = Mapping[str, Any]
TROUBLED = (State.FAILED, State.FAULTY)
"""States that mostly take a person."""
MOST_TROUBLED = 5
"""Objects of each of them that are told of: it is one screen."""


def status_lines(
    status: Figures, instance: str | None, now: float, troubled: Sequence[Row] = ()
) -> Iterator[str]:
    """Yield the lines of a node's answer; `now` is in Unix seconds, `troubled` are some of the
    objects that aren't well."""
    name = "seeder" if instance is None else f"seeder {instance}"
    standing = "ready" if status["ready"] else f"not ready: {status['unready']}"
    up = rounded_time(max(now - status["started"], 0))
    since = show_moment(status["started"])
    yield printable(f"{name}, version {status['version']}, up {up} since {since}: {standing}")
    pairs = [
        *_faults(status, troubled),
        *_listeners(status["listeners"]),
        ("objects", _objects(status)),
        ("peers", _peers(status)),
        *_traffic(status),
        *_budget(status["budget"]),
        ("reload", _reload(status["last_reload"])),
    ]
    yield from aligned([(title, printable(text)) for title, text in pairs])


def _faults(status: Figures, troubled: Sequence[Row]) -> Iterator[tuple[str, str]]:
    # Whether it is ready stands above.
    notices = [each for each in status["notices"] if not each.startswith("not ready:")]
    faults = [*notices, *filter(None, [status["degraded"]]), *_troubled(status, troubled)]
    for place, fault in enumerate(faults):
        yield ("" if place else "trouble"), str(fault)


def _troubled(status: Figures, troubled: Sequence[Row]) -> Iterator[str]:
    for state in TROUBLED:
        told = [each for each in troubled if each["state"] == state]
        for each in told:
            yield f"{name_of(each)}: {state}: {without_name(each, each.get('reason'))}"
        more = status["objects"].get(state, 0) - len(told)
        if told and more > 0:
            yield f"{more:,} more: seeder ls --state {state}"


def _listeners(listeners: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    open_ones = [f"{name} {', '.join(where)}" for name, where in listeners.items() if where]
    for place, each in enumerate(open_ones):
        yield ("" if place else "listens"), each


def _objects(status: Figures) -> str:
    states: Mapping[str, int] = status["objects"]
    told = [f"{count:,} {state}" for state, count in states.items() if count]
    total = sum(states.values())
    if not total:
        return "none; seeder add BUCKET/KEY adds one"
    # An older node doesn't say; its totals have former objects, too.
    size = rounded_size(status.get("published_bytes", status["totals"].get("size")))
    return f"{total:,} of {size}: {', '.join(told)}"


def _peers(status: Figures) -> str:
    totals = status["totals"]
    return (
        f"{counted(status['connected'], 'connection')}; the tracker knows of"
        f" {counted(totals['peers'], 'leecher')} and {counted(totals['seeds'], 'seed')}"
    )


def _traffic(status: Figures) -> Iterator[tuple[str, str]]:
    rates = status["rates"]
    origin, uploaded = (rounded_size(round(rates[each])) for each in ("origin", "uploaded"))
    yield "now", f"{origin}/s from S3, {uploaded}/s uploaded"
    if status["today"] is not None:
        yield "today", _moved(status["today"])
    yield "in all", _moved(status["totals"])


def _moved(counts: Figures) -> str:
    return (
        f"{rounded_size(counts['origin_bytes'])} read from S3,"
        f" {rounded_size(counts['uploaded_bytes'])} uploaded;"
        f" saved {rounded_size(counts['saved_verified_bytes'])} verified,"
        f" {rounded_size(counts['saved_claimed_bytes'])} claimed"
    )


def _budget(limits: Sequence[Figures]) -> Iterator[tuple[str, str]]:
    for place, each in enumerate(limits):
        limit = Limit(Resource(each["resource"]), Period(each["period"]), each["limit"])
        name = f"{limit.resource.value.replace('_', ' ')} a {limit.period.value}"
        level = "" if each["level"] == str(Level.NORMAL) else f"; {each['level']}"
        left, all_of_it = limit.show(each["left"]), limit.show(limit.amount)
        yield ("" if place else "budget"), f"{left} of {all_of_it} left: {name}{level}"


def _reload(last: Figures | None) -> str:
    if last is None:
        return "none since the start"
    # Why it isn't wholly in force is among the troubles.
    return f"{last['outcome']} ({show_moment(last['at'])})"
