"""Mistakes between values: each is right alone, and they don't go together.

While any single value is wrong there is no Config (pydantic skips the validators of a model whose
fields fail), yet all mistakes are to be listed at once. So most of these are looked for in the raw
tables, which are always there. Those that need parsed values or defaults are looked for in the
Config, once every single value is right.
"""

from collections.abc import Iterator, Mapping

from seeder.config.environment import Place
from seeder.config.groups import mistakes_in
from seeder.config.mistakes import TABLES, key_text, keys_of, nameless_entry, problem_line
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.sections import Config
from seeder.config.texts import parse_host_port
from seeder.net.addresses import HostPort, IPNetwork
from seeder.net.doors import NetworkRules


def mistakes_of_tables(raw: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each mistake that the raw tables show."""
    for index, entry in enumerate(raw["objects"] if isinstance(raw["objects"], tuple) else ()):
        yield from nameless_entry(entry, index)
    yield from _repeated_objects(raw["objects"])
    yield from _repeated_addresses(raw)
    yield from _wrong_groups(raw)


def mistakes_of_values(config: Config) -> Iterator[str]:
    """Yield a line for each mistake that the values show together."""
    yield from _gateway_keys(config)
    yield from _event_sources(config)
    yield from _half_tls(config)
    yield from _lone_token(config)
    yield from _nothing_to_publish(config)
    for section in ("tracker", "peer", "gateway"):
        yield from _repeated_networks(section, getattr(config, section).rules)
    if config.tracker.trusted_proxies and not config.peer.public_address:
        yield (
            "peer.public_address: is needed with tracker.trusted_proxies, since behind a proxy"
            " nothing else says where peers reach this seeder"
        )
    yield from _lone_cluster(config)
    yield from _unpriced_budgets(config)


def _lone_cluster(config: Config) -> Iterator[str]:
    """Yield a line for each key of [cluster] that does nothing as it stands."""
    cluster = config.cluster
    if cluster.store is None:
        for key in sorted(cluster.model_fields_set - {"store", "replicas", "prefix"}):
            yield f"cluster.{key}: does nothing without cluster.store, the Redis that nodes share"
    elif cluster.ca_file is not None and not cluster.store.startswith("rediss:"):
        yield 'cluster.ca_file: goes with a store at "rediss://...", which is Redis over TLS'


def _repeated_objects(objects: object) -> Iterator[str]:
    """Yield a line for each object or prefix that an earlier entry publishes already."""
    first: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(objects if isinstance(objects, tuple) else ()):
        if not isinstance(entry, dict) or "bucket" not in entry:
            continue
        kind = "key" if "key" in entry else "prefix"
        name = entry.get(kind)
        origin = entry.get("origin", DEFAULT_ORIGIN)
        # A bundle is published under its prefix, as an object is under its key.
        what = "prefix" if kind == "prefix" and entry.get("bundle") is not True else "object"
        identity = (what, origin, entry["bucket"], name, entry.get("version_id"))
        if name is None or not all(isinstance(part, str | None) for part in identity):
            continue
        earlier = first.setdefault(identity, index)
        if earlier != index:
            same = "object" if kind == "key" else "prefix"
            wanted = f"the same {same} as objects[{earlier}]; leave one out"
            yield problem_line(("objects", index, kind), name, wanted)


def _repeated_addresses(raw: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each listening address that an earlier entry has taken."""
    first: dict[tuple[bool, HostPort], str] = {}
    for section, key in (
        ("tracker", "listen"),
        ("tracker", "tls_listen"),
        ("tracker", "udp_listen"),
        ("peer", "listen"),
        ("admin", "listen"),
    ):
        table = raw.get(section, {})
        default = [str(address) for address in TABLES[section].model_fields[key].default]
        listen = table.get(key, default) if isinstance(table, dict) else default
        for index, text in enumerate(listen if isinstance(listen, list) else ()):
            try:
                address = parse_host_port(text if isinstance(text, str) else "")
            except ValueError:
                continue  # reported already
            place: Place = (section, key, index)
            # UDP has ports of its own.
            taken = first.setdefault((key == "udp_listen", address), key_text(place))
            if address.port and taken != key_text(place):
                yield problem_line(place, text, f"taken by {taken}; write another port")


def _repeated_networks(section: str, rules: NetworkRules) -> Iterator[str]:
    """Yield a line for each network that stands twice in the lists of a section."""
    first: dict[IPNetwork, Place] = {}
    for key, networks in (("allow", rules.allow), ("deny", rules.deny)):
        for index, network in enumerate(networks):
            place: Place = (section, key, index)
            earlier = first.setdefault(network, place)
            if earlier is not place:
                wanted = f"stands in {key_text(earlier)} too; leave one out"
                yield problem_line(place, str(network), wanted)


def _half_tls(config: Config) -> Iterator[str]:
    """Yield a line for each setting of TLS without which another one is of no use."""
    tracker = config.tracker
    given = tracker.tls_key is not None or tracker.tls_key_credential is not None
    if tracker.tls and not given:
        yield "tracker.tls_key: is missing; it names the file with the certificate's private key"
    if given and not tracker.tls:
        yield "tracker.tls_certificate: is missing, and a key alone is of no use"
    if tracker.tls_listen and not tracker.tls and not given:
        yield "tracker.tls_certificate: is missing, without which tls_listen can't speak TLS"


def _lone_token(config: Config) -> Iterator[str]:
    """Yield a line where there is a token, and no listener that asks for it."""
    admin = config.admin
    key = "token_file" if admin.token_file is not None else "token_credential"
    if getattr(admin, key) is not None and not admin.listen:
        yield f"admin.{key}: does nothing without admin.listen, where it is asked for"


def _nothing_to_publish(config: Config) -> Iterator[str]:
    """Yield a line where there is no object, and no way to add one at run time."""
    admin = config.admin
    by_token = admin.token_file is not None or admin.token_credential is not None
    if not config.objects and admin.socket == "off" and not by_token:
        yield (
            'objects: there are none, and nobody can add any with admin.socket = "off" and no'
            " token; add an [[objects]] with a bucket and a key"
        )


def _wrong_groups(raw: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each mistake in [tracker.groups]."""
    tracker = raw.get("tracker")
    if isinstance(tracker, dict):
        for mistake in mistakes_in(tracker.get("groups"), keys_of("tracker")):
            yield problem_line(("tracker", "groups", *mistake.place), mistake.value, mistake.wanted)


def _gateway_keys(config: Config) -> Iterator[str]:
    """Yield a line for each access key without a secret, or with the id of an earlier one."""
    first: dict[str, int] = {}
    for index, key in enumerate(config.gateway.keys):
        place: Place = ("gateway", "keys", index)
        if key.secret_file is None and key.secret_credential is None:
            yield f"{key_text(place)}: has no secret; name its secret_file or its secret_credential"
        earlier = first.setdefault(key.access_key_id, index)
        if earlier != index:
            wanted = f"the id of {key_text(('gateway', 'keys', earlier))} too; each key has its own"
            yield problem_line((*place, "access_key_id"), key.access_key_id, wanted)


def _event_sources(config: Config) -> Iterator[str]:
    """Yield a line for each source of events that is no source, or has the name of another."""
    first: dict[str, int] = {}
    for index, each in enumerate(config.events):
        place: Place = ("events", index)
        if (each.sqs is not None) == each.has_token:
            yield f"{key_text(place)}: want either sqs, a queue's URL, or a webhook's token_file"
        if each.region is not None and each.sqs is None:
            yield f"{key_text((*place, 'region'))}: goes with sqs, and this is a webhook"
        if each.has_token and not config.admin.listen:
            yield f"{key_text(place)}: a webhook needs admin.listen, where it is called"
        earlier = first.setdefault(each.name, index)
        if earlier != index:
            wanted = f"the name of {key_text(('events', earlier))} too; each has its own"
            yield problem_line((*place, "name"), each.name, wanted)


def _unpriced_budgets(config: Config) -> Iterator[str]:
    """Yield a line for each limit in money on what costs nothing at the given prices."""
    prices = config.savings
    asked = prices.price_per_gb
    costs = bool(asked) if isinstance(asked, float) else any(price for _, price in asked)
    for name, amount in config.budget.amounts().items():
        if amount is None or "money" not in name or costs:
            continue
        if name.startswith("origin") and prices.price_per_1000_requests:
            continue
        wanted = "nothing costs anything: want savings.price_per_gb above zero, or a limit in bytes"
        yield problem_line(("budget", name), amount, wanted)
