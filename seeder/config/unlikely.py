"""What a configuration may say, and nobody means: `seeder check` warns of it.

`advice.py` has what the daemon itself logs as well.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from urllib.parse import urlsplit

from seeder.config.events import EventSettings
from seeder.config.origins import OriginSettings
from seeder.config.sections import Config
from seeder.net.addresses import (
    PRIVATE_NETWORKS,
    HostPort,
    IPNetwork,
    ip_version,
    is_public,
    parse_ip,
)
from seeder.units import MIB, exact_size

_EXAMPLES: tuple[IPNetwork, ...] = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)
"""RFC 5737 and RFC 3849."""
_EXAMPLE_NAME = re.compile(r"(^|\.)(example|invalid|test)(\.(com|net|org))?\.?$", re.IGNORECASE)
"""RFC 2606."""
_LOCAL_NAME = re.compile(
    r"(^|\.)localhost\.?$|\.(local|localdomain|internal|lan|home\.arpa)\.?$", re.IGNORECASE
)
"""RFC 6761, 6762 and 8375, and what networks call their own hosts."""
_AWS_HOST = re.compile(r"(.+\.)?s3[.-](?:dualstack\.)?([a-z0-9-]+-\d)\.amazonaws\.com(?:\.cn)?$")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_QUERY = re.compile(
    r"\?(torrent|magnet|versionId|partNumber|uploadId|prefix|list-type|X-Amz-|AWSAccessKeyId"
    r"|response-)",
    re.IGNORECASE,
)
_PATTERN = re.compile(r"[*?]|\{[^{}]*,[^{}]*\}|\[[!^]?\w-\w[^\]]*\]")
_BUCKETS_HOST = re.compile(r"\.s3[.-]|\.amazonaws\.com", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_LEAST_CACHE = 64 * MIB
"""Eight reads of 8 MiB."""
_PIECES_HELD = 4
_SHORTEST_INTERVAL = 60.0
_SHORTEST_REFRESH = 10.0
_TEMPORARY = ("/tmp/", "/run/", "/dev/shm/")


def doubt(config: Config) -> Iterator[str]:
    """Yield a line for each value that is legal and seldom meant; it begins with its key."""
    for number, settings in enumerate(config.objects):
        if why := _odd_bucket(settings.bucket):
            yield f"objects[{number}].bucket: {settings.bucket}: {why}"
        is_key = settings.prefix is None
        for why in _odd_name(settings.bucket, settings.ref.key, is_key=is_key):
            yield f"objects[{number}].{'key' if is_key else 'prefix'}: {settings.ref}: {why}"
    for origin in config.origins.values():
        yield from _odd_origin(origin)
    yield from _odd_addresses(config)
    yield from _odd_ports(config)
    yield from _odd_trackers(config)
    yield from _odd_sizes(config)
    yield from _odd_times(config)
    yield from _odd_budgets(config)
    yield from _odd_events(config.events)


def doubt_entry(bucket: str, name: str, *, is_key: bool) -> Iterator[str]:
    """Yield a line for what is legal and seldom meant as the bucket and key, or prefix, of an
    entry."""
    if why := _odd_bucket(bucket):
        yield why
    yield from _odd_name(bucket, name, is_key=is_key)


def _odd_bucket(bucket: str) -> str | None:
    if bucket.lower().startswith("arn:"):
        return "this is an ARN; write the name behind its last colon"
    if _BUCKETS_HOST.search(bucket):
        return "this looks like a host; write the bucket's name alone"
    return None


def _odd_name(bucket: str, name: str, *, is_key: bool) -> Iterator[str]:
    if not name:
        return
    query = _QUERY.search(name)
    if query:
        version = "; a version is named by version_id" if query[1].lower() == "versionid" else ""
        yield f"it ends with the query of a URL; leave it out from the ? on{version}"
    elif pattern := _PATTERN.search(name):
        kept = name[: pattern.start()]
        whole = "" if kept else " (the whole bucket)"
        yield f'there are no patterns, this is a name; for all below it: prefix = "{kept}"{whole}'
    if name.lower().startswith("arn:"):
        yield "this is an ARN; write what stands behind the bucket and its slash"
    elif _URL.match(name):
        yield "this is a URL; write what stands behind the bucket"
    elif name.startswith("/"):
        yield "keys seldom begin with a slash; leave it out"
    elif name.startswith(f"{bucket}/"):
        yield "it begins with the name of its bucket; write what stands behind it"
    if name != name.strip() or "\n" in name:
        yield "it begins or ends with a blank"
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'`":
        yield "it stands in quotes twice; leave the inner ones out"
    if _ESCAPE.search(name):
        yield "keys are written as they are, not percent-encoded"
    if "\\" in name:
        yield "keys have slashes, seldom backslashes"
    if "//" in name and not _URL.match(name):
        yield "it has two slashes in a row"
    if {".", ".."} & set(name.split("/")):
        yield "S3 knows no . and .. between slashes; write the key as S3 lists it"
    if is_key and name.endswith("/"):
        yield f'it ends with a slash; for all below it: prefix = "{name}"'
    if is_key and name.endswith(".torrent"):
        yield "this is a torrent; publish the object beside it"


def _odd_origin(origin: OriginSettings) -> Iterator[str]:
    key = "origin" if origin.name == "default" else f"origins.{origin.name}"
    if origin.endpoint is None:
        return
    host = urlsplit(origin.endpoint).hostname or ""
    if not origin.path_style and (ip_version(host) or host == "localhost"):
        yield (
            f"{key}.path_style: {host} has no names below it such as BUCKET.{host};"
            " set path_style = true"
        )
    if found := _AWS_HOST.match(host):
        if found[2] != origin.region:
            yield (
                f'{key}.region: is "{origin.region}", and the endpoint is in {found[2]};'
                " write one region in both, or leave the endpoint out"
            )
        if found[1]:
            yield f"{key}.endpoint: names the bucket {found[1][:-1]}; leave that out"


def _odd_addresses(config: Config) -> Iterator[str]:
    tracker, peer = config.tracker, config.peer
    local = _is_trial(config)
    for key, url in (*_own_urls(config), *_urls_of_others(config)):
        if not local and (why := _elsewhere(urlsplit(url).hostname or "")):
            yield f"{key}: {url}: {why}"
    for address in peer.public_address:
        if not local and (why := _elsewhere(address.host)):
            yield f"peer.public_address: {address}: {why}"
    if not local:
        for key, listen in _public_listeners(config).items():
            alone = bool(listen) and all(_is_loopback(each.host) for each in listen)
            if alone and not (key == "tracker.listen" and tracker.trusted_proxies):
                yield f"{key}: this machine alone reaches {_join(listen)}; nobody else can connect"
            everywhere = [each for each in listen if each.host == "::"]
            if everywhere and all(ip_version(each.host) == 6 for each in listen):
                yield (
                    f"{key}: {everywhere[0]} is IPv6 alone, and clients without it can't connect;"
                    f' add "0.0.0.0:{everywhere[0].port}"'
                )
    yield from _plain_urls(config)
    is_https = (tracker.announce_url or "").startswith("https:")
    if is_https and not tracker.tls and not tracker.trusted_proxies:
        yield (
            "tracker.trusted_proxies: is empty, and announce_url is https: a proxy answers that,"
            " and every client seems to come from it; name its address"
            " (or tls_certificate, if no proxy does)"
        )
    open_to_all = [each for each in config.admin.listen if not _is_loopback(each.host)]
    if open_to_all:
        yield (
            f"admin.listen: {_join(open_to_all)}: whoever reaches that sees the status page, which"
            " has no password; listen on 127.0.0.1, or keep others out by a firewall"
        )


def _plain_urls(config: Config) -> Iterator[str]:
    """Yield a line for each URL of ours without TLS where there is nothing but TLS."""
    tracker = config.tracker
    if not tracker.tls or tracker.tls_listen or tracker.trusted_proxies:
        return
    for key, url in _own_urls(config):
        if url.startswith("http:"):
            yield (
                f"{key}: {url}: tracker.listen speaks TLS alone, since there is a tls_certificate;"
                " write https://, or list the addresses for TLS in tls_listen"
            )


def _odd_ports(config: Config) -> Iterator[str]:
    """Yield a line for each address that names a port at which another part of us listens."""
    listen = _public_listeners(config) | {"admin.listen": config.admin.listen}
    told = [
        ("peer.public_address", str(each), "peer.listen", each.port)
        for each in config.peer.public_address
    ]
    for key, url in _own_urls(config):
        parts = urlsplit(url)
        meant = "tracker.udp_listen" if parts.scheme == "udp" else "tracker.listen"
        if parts.scheme == "https" and config.tracker.tls_listen:
            meant = "tracker.tls_listen"
        told.append((key, url, meant, parts.port or _PORTS[parts.scheme]))
    for key, value, meant, port in told:
        if not listen[meant] or any(each.port == port for each in listen[meant]):
            continue
        for part, addresses in listen.items():
            if any(each.port == port for each in addresses):
                yield f"{key}: {value}: {part} has port {port}; want that of {meant}"


def _odd_trackers(config: Config) -> Iterator[str]:
    """Yield a line for each URL that torrents name twice, and for one that nobody answers."""
    named = {url for _, url in _own_urls(config)}
    for key, url in _urls_of_others(config):
        if url in named:
            yield f"{key}: {url}: torrents name it already; leave it out"
        named.add(url)
    if config.tracker.udp_announce_url is not None and not config.tracker.udp_listen:
        yield (
            f"tracker.udp_announce_url: {config.tracker.udp_announce_url}: tracker.udp_listen is"
            " empty, and so nothing answers there, unless systemd passes a socket for it"
            " (ListenDatagram)"
        )


def _own_urls(config: Config) -> list[tuple[str, str]]:
    """Return the URLs at which we are said to be, each behind its key."""
    urls = (
        ("tracker.announce_url", config.tracker.announce_url),
        ("tracker.udp_announce_url", config.tracker.udp_announce_url),
        ("gateway.url", config.gateway.url),
    )
    return [(key, url) for key, url in urls if url is not None]


def _urls_of_others(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the URLs of others that torrents name, each behind its key."""
    for key, urls in (
        ("tracker.announce_list", config.tracker.announce_list),
        ("gateway.web_seeds", config.gateway.web_seeds),
    ):
        for index, url in enumerate(urls):
            yield f"{key}[{index}]", url


def _public_listeners(config: Config) -> dict[str, Sequence[HostPort]]:
    """Return where clients reach us, by key."""
    tracker, peer = config.tracker, config.peer
    return {
        "tracker.listen": tracker.listen,
        "tracker.tls_listen": tracker.tls_listen,
        "tracker.udp_listen": tracker.udp_listen,
        "peer.listen": peer.listen,
    }


def _odd_sizes(config: Config) -> Iterator[str]:
    cache = config.cache
    total = cache.memory + cache.disk
    pieces = [each.piece_length for each in config.objects if each.piece_length]
    least = max([_LEAST_CACHE, *(_PIECES_HELD * each for each in pieces)])
    if total < least:
        yield (
            f"cache: {exact_size(total)} of memory and disk together; what doesn't fit is read from"
            f" S3 again and again: want {exact_size(least)} at least"
        )
    elif pieces and cache.memory < max(pieces):
        yield (
            f"cache.memory: a piece of {exact_size(max(pieces))} doesn't fit"
            f" {exact_size(cache.memory)}; want {exact_size(_PIECES_HELD * max(pieces))}"
        )
    state = config.state_directory
    for key, path in (("state_directory", state), ("cache.directory", cache.directory)):
        if not _is_trial(config) and str(path).startswith(_TEMPORARY):
            yield f"{key}: {path} is emptied at a restart of the machine; choose another"


def _odd_times(config: Config) -> Iterator[str]:
    interval = config.tracker.interval
    if interval < _SHORTEST_INTERVAL:
        yield (
            f"tracker.interval: each client announces every {interval:.0f} s; the usual is half an"
            " hour"
        )
    hasty = [each for each in config.objects if each.refresh < _SHORTEST_REFRESH]
    if hasty:
        yield (
            f"objects.refresh: S3 is asked for {hasty[0].ref} every {hasty[0].refresh:.0f} s, and"
            " bills each request"
        )


def _odd_budgets(config: Config) -> Iterator[str]:
    for name, amount in config.budget.amounts().items():
        if amount == 0:
            what = "read from S3" if name.startswith("origin") else "sent to anybody"
            yield f"budget.{name}: is 0, so nothing is ever {what}"


def _odd_events(events: Sequence[EventSettings]) -> Iterator[str]:
    for number, each in enumerate(events):
        if (each.sqs or "").endswith(".fifo"):
            yield (
                f"events[{number}].sqs: a FIFO queue gives no message before the one ahead of it is"
                " done: a large object that is being hashed holds up all others until `refresh`;"
                " use a standard queue"
            )


def _elsewhere(host: str) -> str | None:
    """Return why nobody outside reaches a host; None if they may."""
    if ip_version(host) is None:
        if _LOCAL_NAME.search(host):
            return "means another machine, or none, to everybody else"
        if _EXAMPLE_NAME.search(host):
            return "is a name for examples; write your own"
        if "." not in host:
            return "is a name of your own network, which clients elsewhere can't look up"
        return None
    ip = parse_ip(host)
    if ip.is_loopback or ip.is_unspecified:
        return "means another machine, or none, to everybody else"
    if any(ip in network for network in _EXAMPLES if network.version == ip.version):
        return "is an address for examples; write your own"
    if any(ip in network for network in PRIVATE_NETWORKS if network.version == ip.version):
        return "is private: clients outside your network can't reach it"
    if not is_public(host):
        return "is the address of no host that clients can reach"
    return None


def _is_trial(config: Config) -> bool:
    """Tell whether all is on this machine alone: who listens so tries it out, and means it."""
    return all(_is_loopback(each.host) for each in (*config.tracker.listen, *config.peer.listen))


def _is_loopback(host: str) -> bool:
    if ip_version(host) is None:
        return bool(_LOCAL_NAME.search(host))
    return parse_ip(host).is_loopback


def _join(addresses: Sequence[HostPort]) -> str:
    return ", ".join(map(str, addresses))
