"""Reading the configuration, in a file or the environment: all mistakes at once, with places."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from seeder.config.directories import CACHE, STATE, default_directory, in_common, instances_at
from seeder.config.environment import Overlaid, Place, overlay
from seeder.config.fields import Absent, SourceFile
from seeder.config.groups import mistakes_in
from seeder.config.instances import (
    PLACEHOLDER,
    has_place,
    in_common_beside,
    of_instance,
)
from seeder.config.mistakes import (
    ARRAYS,
    BARE_KEY,
    TABLES,
    key_text,
    keys_of,
    nameless_entry,
    problem_line,
    problem_of,
)
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.salvage import salvaged
from seeder.config.sections import Config
from seeder.config.texts import parse_host_port
from seeder.errors import ConfigError, Unavailable
from seeder.net.addresses import HostPort, IPNetwork
from seeder.net.doors import NetworkRules

_KEY_ENDS = re.compile(r"[.\[]|: | = ")
_SLASHED_KEY = re.compile(r"\s*[\w.-]+(/[\w.-]+)+\s*=")
_SYNTAX_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(
    path: Path | None,
    instance: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Read and check the configuration; ConfigError lists every mistake, one line each.

    It is Unavailable where nothing is wrong but that files aren't there which it names.
    `path` is that of the file, None for one of the environment's keys alone. `instance` is what %i
    stands for, where several nodes run by one file.
    """
    given = _given(path, environment)
    try:
        written = of_instance(given.values, instance)
    except ValueError as error:
        raise ConfigError(_by_variable([*given.problems, str(error)], given)) from error
    origins, wrong = _origins(written)
    problems = [*given.problems, *wrong, *in_common(given, instance)]
    raw = _with_defaults(written, instance) | {"origins": origins}
    source = SourceFile(_home(path), frozenset(origins))
    config, absent = None, 0
    try:
        config = Config.model_validate(raw, context=source)
    except ValidationError as error:
        wrong_values = error.errors(include_url=False)
        problems += map(problem_of, wrong_values)
        absent = sum(isinstance(each.get("ctx", {}).get("error"), Absent) for each in wrong_values)
    if "objects" not in written:
        # Empty is what a file is, too, that is being written again: it would end every torrent.
        problems.append(
            "objects: there are none; add an [[objects]] with a bucket and a key, or write"
            " objects = [] above all sections and add them by seeder add"
        )
    problems += _between_sections(raw)
    if config is not None:
        problems += _between_values(config)
    if problems or config is None:
        kind = Unavailable if len(problems) == absent else ConfigError
        raise kind(_by_variable(problems, given))
    return config


def _given(path: Path | None, environment: Mapping[str, str]) -> Overlaid:
    """Return what file and environment say; ConfigError if the file can't be read."""
    written = {} if path is None else _read(Path(path))
    origins = written.get("origins")
    known = {DEFAULT_ORIGIN, *(origins if isinstance(origins, dict) else ())}
    return overlay(written, environment, SourceFile(_home(path), frozenset(known)))


def _home(path: Path | None) -> Path:
    """Return the directory where relative paths start."""
    return Path.cwd() if path is None else Path(path).absolute().parent


def _by_variable(problems: Iterable[str], given: Overlaid) -> list[str]:
    """Return the problems; one of a value from the environment begins with its variable."""
    variables = {key_text(place): name for place, name in given.variables.items()}
    return ["".join((*_variables_of(each, variables), each)) for each in problems]


def _variables_of(problem: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield "VARIABLE: " for those of the value that a problem is about: it, or what it is in."""
    key = ""
    for end in _KEY_ENDS.finditer(problem):
        key = problem[: end.start()]
        if key in variables:
            yield f"{variables[key]}: "
            return
        if end[0] not in (".", "["):
            break
    yield from (f"{name}: " for each, name in variables.items() if each.startswith(f"{key}."))


def source_name(path: Path | None) -> str:
    """Return what a configuration is called in a line for people."""
    return "the environment" if path is None else str(path)


def read_values(
    path: Path | None, environment: Mapping[str, str]
) -> tuple[Mapping[str, object], Path]:
    """Return what file and environment say, unchecked, and the directory where paths start.

    Of a file that is no TOML it is what stands above the mistake.
    """
    home = _home(path)
    try:
        return _given(path, environment).values, home
    except ConfigError:
        written = {} if path is None else salvaged(path)
        return overlay(written, environment, SourceFile(home, frozenset())).values, home


def doubt_instances(
    path: Path | None, instance: str | None, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield a line for each value that is the same for all instances, and hardly can be.

    ConfigError if the file can't be read.
    """
    if instance is not None:
        given = _given(path, environment)
        values = dict(given.values)
        for section in ("peer", "admin"):
            table = values.get(section, {})
            if isinstance(table, dict):
                addresses = TABLES[section].model_fields["listen"].default
                values[section] = {"listen": list(map(str, addresses))} | table
        yield from in_common_beside(values, {key_text(place[:2]) for place in given.variables})


def find_instances(
    path: Path | None, environment: Mapping[str, str] = os.environ
) -> list[str] | None:
    """Return the instances of a file that have run on this machine: their state directories exist.

    None where nothing in the file stands for an instance. ConfigError if it can't be read.
    """
    written = _given(path, environment).values
    if not has_place(written):
        return None
    directory = written.get("state_directory")
    if not isinstance(directory, str) or PLACEHOLDER not in directory:
        home = directory if isinstance(directory, str) else None
        home = home or default_directory(STATE, None)
        directory = f"{home}/{PLACEHOLDER}"
    return instances_at(str(_home(path) / Path(directory).expanduser()))


# Mistakes between values. While any single value is wrong there is no Config (pydantic skips the
# validators of a model whose fields fail), yet all mistakes are to be listed at once. So most of
# these are looked for in the raw tables, which are always there. Those that need parsed values or
# defaults are looked for in the Config, once every single value is right.


def _between_sections(raw: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each mistake that the raw tables show."""
    for index, entry in enumerate(raw["objects"] if isinstance(raw["objects"], tuple) else ()):
        yield from nameless_entry(entry, index)
    yield from _repeated_objects(raw["objects"])
    yield from _repeated_addresses(raw)
    yield from _wrong_groups(raw)


def _between_values(config: Config) -> Iterator[str]:
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


def _read(path: Path) -> dict[str, object]:
    """Return the file's TOML as Python values; ConfigError when it can't be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror or error}"]) from error
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = (
            f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        )
        raise ConfigError([problem]) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from error
    except (RecursionError, ValueError) as error:
        # tomllib doesn't catch these: arrays hundreds deep, numbers of thousands of digits.
        raise ConfigError([f"{path}: not TOML that can be read: {error}"]) from error


def _syntax_problem(path: Path, text: str, message: str) -> str:
    found = _SYNTAX_PLACE.search(message)
    message = _SYNTAX_PLACE.sub("", message)
    if found and found[1]:
        place = f"line {found[1]}, column {found[2]}"
    else:
        lines = text.rstrip("\n").split("\n")
        place = f"line {len(lines)}, column {len(lines[-1]) + 1} (the end)"
    problem = f"{path}, {place}: not TOML: {message[:1].lower()}{message[1:]}"
    if found and found[1] and _SLASHED_KEY.match(text.splitlines()[int(found[1]) - 1]):
        problem += "; a name with a slash stands in quotes"
    return problem


def _with_defaults(written: Mapping[str, object], instance: str | None) -> dict[str, object]:
    """Return the tables except the origins, with default directories where none is written."""
    raw = {key: value for key, value in written.items() if key != "origin"}
    for name in ARRAYS:
        tables = raw.get(name, [])
        raw[name] = tuple(tables) if isinstance(tables, list) else tables
    if "state_directory" not in raw:
        raw["state_directory"] = default_directory(STATE, instance)
    cache = raw.setdefault("cache", {})
    if isinstance(cache, dict) and "directory" not in cache:
        raw["cache"] = {"directory": default_directory(CACHE, instance)} | cache
    return raw


def _origins(written: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return [origin] and [origins.NAME] by name, each with its name added; and the mistakes."""
    problems: list[str] = []
    default, further = written.get("origin", {}), written.get("origins", {})
    if not isinstance(further, dict):
        problems.append(problem_line(("origins",), further, "want tables headed [origins.NAME]"))
        further = {}
    origins: dict[str, object] = {DEFAULT_ORIGIN: default}
    for name, section in further.items():
        if name == DEFAULT_ORIGIN:
            problems.append(f'origins.{name}: the origin named "{name}" is headed [origin]')
        elif not BARE_KEY.fullmatch(name):
            problems.append(
                key_text(("origins", name)) + ": want a name of letters, digits, - and _"
            )
        origins.setdefault(name, section)
    for name, section in origins.items():
        if isinstance(section, dict):
            if "name" in section:
                place: Place = ("origins", name, "name")
                problems.append(
                    f"{key_text(place)}: unknown key; an origin's name is in its heading"
                )
            origins[name] = section | {"name": name}
    return origins, problems


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
