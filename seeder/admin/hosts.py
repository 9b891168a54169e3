"""Which Host headers the admin listener answers.

A page of another site can have its own name point to this listener's address (DNS rebinding); the
browser then takes what it reads here for that site's own. It can't do so under a name that isn't
that site's: an IP address, localhost, or what the operator named. No I/O.
"""

from collections.abc import Collection

from seeder.net.addresses import parse_ip


def is_answered(header: bytes | None, names: Collection[str]) -> bool:
    """Tell whether a request with this Host header (RFC 9110, 7.2) is answered.

    `names` are in lower case and without a dot at the end. Every browser sends the header; a
    request without one (HTTP/1.0) is from a program and is answered.
    """
    if header is None:
        return True
    host = header.decode("latin-1").strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and (not port or (port.isascii() and port.isdigit())):
        host = name
    if host.startswith("[") and host.endswith("]"):
        return ":" in host and _is_ip(host[1:-1])
    host = host.removesuffix(".")
    # RFC 6761, 6.3: no resolver asks anybody about localhost and what lies below it.
    local = host == "localhost" or host.endswith(".localhost")
    # Only what stands in brackets has a zone: `127.0.0.1%.example.org` is a name.
    return local or host in names or (":" not in host and "%" not in host and _is_ip(host))


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text)
    except ValueError:
        return False
    return True
