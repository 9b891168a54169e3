"""The texts that values are written in: addresses, networks, URLs, words. Sizes are in units.py.

Each parser takes the text and returns the value. The text of its ValueError is half a line that
says what is wanted; it is shown after the key and the value.

No I/O.
"""

import difflib
import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from seeder.net.addresses import HostPort, IPNetwork, ip_version

_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?", re.ASCII)

# What a client appends to the announce URL (BEP 3, 7, 23 and common practice).
_ANNOUNCE_ARGUMENT = re.compile(
    "info_hash|peer_id|port|uploaded|downloaded|left|event|compact|numwant|key|ip|ipv4|ipv6"
    "|no_peer_id|trackerid|corrupt|redundant|supportcrypto|requirecrypto|cryptoport"
)


_V4_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
MOST_PUBLIC = 4
"""Entries of `public_address`."""


def parse_host_port(text: str) -> HostPort:
    """Return the parts of "HOST:PORT" or "[IPV6]:PORT"."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise ValueError('want an address and a port, such as "0.0.0.0:6969" or "[::]:6969"')
    if len(port) > 5 or int(port) > 65535:
        raise ValueError("want a port of at most 65535")
    if not host:
        raise ValueError(f'want a host before the port, such as "0.0.0.0:{port}" or "[::]:{port}"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ip_version(host) != 6:
            raise ValueError("want an IPv6 address between the brackets")
    elif ":" in host:
        raise ValueError("want an IPv6 address in brackets, then the port, such as [::]:6969")
    elif not _is_host(host):
        raise ValueError("want an IPv4 address, an IPv6 address in brackets, or a host name")
    return HostPort(host, int(port))


def parse_public_address(text: str) -> HostPort:
    """Return the parts of a "HOST:PORT" that peers can dial."""
    address = parse_host_port(text)
    with suppress(ValueError):
        ip = ipaddress.ip_address(address.host)
        if ip.is_unspecified or ip.is_multicast:
            address = address._replace(port=0)
    if address.port == 0:
        raise ValueError("want the one address and port at which peers reach this seeder")
    return address


def check_families(addresses: tuple[HostPort, ...]) -> tuple[HostPort, ...]:
    """Return the addresses if no two numbers are of one family, and they aren't too many."""
    versions = [version for each in addresses if (version := ip_version(each.host))]
    if len(versions) != len(set(versions)) or len(addresses) > MOST_PUBLIC:
        raise ValueError("want one IPv4 and one IPv6 address, or names that have them")
    return addresses


def parse_network(text: str) -> IPNetwork:
    """Return the network of a CIDR such as "10.0.0.0/8"; an address alone is a network of one.

    One of IPv4-mapped addresses ("::ffff:10.0.0.0/104") is an IPv4 network.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            wider = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError('want a network such as "10.0.0.0/8" or one address') from None
        wanted = f'has address bits behind the prefix; did you mean "{wider}"?'
        raise ValueError(wanted) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_V4_MAPPED):
        inner = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inner, network.prefixlen - _V4_MAPPED.prefixlen))
    return network


def check_endpoint(text: str) -> str:
    """Return the URL of an S3 server, without a trailing slash."""
    _check_url(text, "https://s3.example.org")
    if urlsplit(text).path not in ("", "/") or "?" in text:
        raise ValueError("want a URL that ends behind the host and port; objects name their bucket")
    return text.rstrip("/")


def check_gateway_url(text: str) -> str:
    """Return the URL that /BUCKET/KEY follows, without a trailing slash."""
    _check_url(text, "https://data.example.org")
    if "?" in text:
        raise ValueError("want a URL without a query: the object's bucket and key follow it")
    return text.rstrip("/")


def check_web_seed(text: str) -> str:
    """Return the template of a web seed's URL: {bucket} and {key} stand for an object's."""
    example = "https://mirror.example.net/{bucket}/{key}"
    before = text.removesuffix("{key}")
    filled = before.replace("{bucket}", "b")
    _check_url(f"{filled}k", example)
    if before == text or "{" in filled or "}" in filled:
        raise ValueError(
            "want a URL that ends with {key} and has no other braces but {bucket}, such as"
            f' "{example}"'
        )
    return text


def check_announce_url(text: str) -> str:
    """Return the URL of an HTTP tracker, as it goes into torrents."""
    _check_url(text, "http://tracker.example.org:6969/announce")
    return _check_announce(text)


def check_udp_announce_url(text: str) -> str:
    """Return the URL of a UDP tracker, as it goes into torrents."""
    _check_url(text, "udp://tracker.example.org:6969/announce", ("udp",))
    if urlsplit(text).port is None:
        raise ValueError("want a URL with a port: UDP trackers have no usual one")
    return text


def check_tracker_url(text: str) -> str:
    """Return the URL of any tracker, as it goes into torrents."""
    if text.lower().startswith("udp:"):
        return check_udp_announce_url(text)
    _check_url(text, "udp://tracker.example.net:6969/announce", ("http", "https", "udp"))
    return _check_announce(text)


def _check_announce(text: str) -> str:
    parts = urlsplit(text)
    wanted = []
    # BEP 48 finds the scrape URL by this word, and libtorrent refuses other paths on loopback.
    if not parts.path.rpartition("/")[2].startswith("announce"):
        wanted.append('a path whose last part begins with "announce"')
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if taken := [name for name in given if _ANNOUNCE_ARGUMENT.fullmatch(name)]:
        wanted.append(f"a query without {', '.join(taken)}, which every client adds itself")
    if wanted:
        raise ValueError(f"want {' and '.join(wanted)}")
    return text


def check_queue(text: str) -> str:
    """Return the URL of a queue of SQS."""
    _check_url(text, "https://sqs.eu-central-1.amazonaws.com/111122223333/uploads")
    parts = urlsplit(text)
    if "?" in text or len([each for each in parts.path.split("/") if each]) < 1:
        raise ValueError("want the queue's URL, which ends with its name")
    return text


def check_store(text: str) -> str:
    """Return the URL of a Redis server: redis://HOST:PORT, rediss:// for TLS, or unix://PATH.

    It may name a user and the number of a database, but no password.
    """
    example = '"redis://10.0.0.5:6379", "rediss://..." for TLS or "unix:///run/redis/redis.sock"'
    if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
        raise ValueError(f"want a URL such as {example}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its text may hold a part of a password
        raise ValueError(f"want a URL such as {example}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"want a URL such as {example}")
    if parts.password is not None:
        raise ValueError("want no password: it goes into password_file or password_credential")
    local = parts.scheme == "unix"
    if local:
        named = not parts.hostname and parts.path.strip("/") != ""
        database = re.fullmatch("(db=([0-9]{1,5}))?", parts.query)
    else:
        named = parts.hostname is not None and _is_host_or_ipv6(parts.hostname) and not parts.query
        database = re.fullmatch("/?([0-9]{1,5})?", parts.path)
    if not named or port == 0:
        raise ValueError(f"want a URL such as {example}")
    if database is None:
        where = "?db=NUMBER" if local else "/NUMBER"
        raise ValueError(f"want nothing behind it, or a database as {where}")
    return text


def _is_host_or_ipv6(host: str) -> bool:
    return ip_version(host) == 6 or _is_host(host)


def check_domain(text: str) -> str:
    """Return a domain name in lower case."""
    if not _HOST_NAME.fullmatch(text) or not _is_host(text) or ip_version(text) == 4:
        raise ValueError('want a domain name such as "torrents.example.org"')
    return text.rstrip(".").lower()


def _check_url(text: str, example: str, schemes: Sequence[str] = ("http", "https")) -> None:
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f'want a URL such as "{example}", its odd characters percent-encoded')
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:  # its text may hold a part of a password
        raise ValueError(f'want a URL such as "{example}"') from None
    if parts.scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f'want a URL with {wanted}, such as "{example}"')
    if not host or port == 0 or not (ip_version(host) == 6 if ":" in host else _is_host(host)):
        raise ValueError(f'want a URL with a host, such as "{example}"')
    if "@" in parts.netloc:
        raise ValueError("want a URL without a user and a password")
    if "#" in text:
        raise ValueError("want a URL without a fragment (#)")


def _is_host(text: str) -> bool:
    """Tell whether a text is an IPv4 address or a host name; "1.2.3" is neither (RFC 3696, 2)."""
    if ip_version(text) == 4:
        return True
    last_label = text.rstrip(".").rpartition(".")[2]
    return bool(_HOST_NAME.fullmatch(text)) and not last_label.isdigit()


_SHORT = 3
"""Letters of a word of which one wrong letter is a third."""


def closest(word: str, choices: Sequence[str]) -> str | None:
    """Return the choice that `word` is probably a misspelling of, if one is near enough."""
    # 0.76 takes near misses such as "memry" and leaves words that only share an ending; one letter
    # of three is two thirds.
    cutoff = 0.76 if len(word) > _SHORT else 0.66
    found = difflib.get_close_matches(word, choices, n=1, cutoff=cutoff)
    return found[0] if found else None


def one_of(word: str, choices: Sequence[str]) -> str:
    """Return `word` when it is one of `choices`; the ValueError lists them and guesses."""
    if word in choices:
        return word
    guess = closest(word.lower(), choices)
    wanted = " or ".join(f'"{choice}"' for choice in choices)
    raise ValueError(f"want {wanted}" + (f'; did you mean "{guess}"?' if guess else ""))
