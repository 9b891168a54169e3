"""Pages of HTML where S3 was asked: what they are, and whose they likely are. No I/O.

S3 answers in XML. A page for people is a proxy's, a firewall's, a login's, or a web server's that
is no S3.
"""

import html
import re
from collections.abc import Mapping

_TITLE = re.compile(rb"<(title|h1)\b[^>]{0,200}>([^<]{1,300})<", re.IGNORECASE)
_WEBSITE_CODE = re.compile(rb"<li>Code: ([A-Za-z]{1,60})</li>")
"""S3's own pages, of buckets that are served as websites, have its code."""
_CHALLENGE = re.compile("just a moment|attention required|checking your browser", re.I)
_LONGEST_TITLE = 80
_PORTAL = "maybe the login page of a network (captive portal) or of a proxy"


def is_page(headers: Mapping[str, str], body: bytes = b"") -> bool:
    """Tell whether an answer is a page of HTML, by its type or by how it begins."""
    kind = headers.get("content-type", "").strip().lower()
    beginning = body[:256].lstrip().lower()
    return kind.startswith(("text/html", "application/xhtml")) or beginning.startswith(
        (b"<!doctype html", b"<html")
    )


def code_in(body: bytes) -> str:
    """Return the code of an error on a page of S3's own; "" if it has none."""
    match = _WEBSITE_CODE.search(body)
    return match[1].decode() if match else ""


def describe_page(status: int, headers: Mapping[str, str], body: bytes = b"") -> str:
    """Return what a page of HTML is, and its likely cause, as the rest of "S3 answers 502"."""
    match = _TITLE.search(body)
    title = "" if match is None else html.unescape(match[2].decode(errors="replace"))
    title = " ".join(title.split())[:_LONGEST_TITLE]
    server = " ".join(headers.get("server", "").split())[:_LONGEST_TITLE]
    known = ", ".join(each for each in (f'"{title}"' if title else "", server) if each)
    return f" with a page of HTML{f' ({known})' if known else ''}: {_cause(status, title, headers)}"


def hint_of_page() -> str:
    """Return the likely cause of a page that came as if it were what was asked for."""
    return f"the answer is a page of HTML: {_PORTAL}, or of a web server that is no S3"


def _cause(status: int, title: str, headers: Mapping[str, str]) -> str:
    cloudflare = "cloudflare" in headers.get("server", "").lower() or "cf-ray" in headers
    if "cf-mitigated" in headers or (cloudflare and _CHALLENGE.search(title)):
        return "Cloudflare takes this machine for a robot; let it pass in the rules of its firewall"
    if "HTTP request was sent to HTTPS" in title:
        return "the server wants TLS; begin endpoint with https://"
    if status == 407:
        return "a proxy on the way wants a login; let this machine reach S3 without it"
    if status == 511 or 300 <= status < 400:
        return _PORTAL
    if status in (413, 414, 431):
        return "a proxy before S3 refuses requests of this length; raise its limits"
    if 502 <= status <= 504 or 520 <= status <= 530:
        return "a proxy before S3 can't reach it; see the proxy's own log"
    if status in (401, 403, 451):
        return f"{_PORTAL}, or a firewall; let this machine reach S3"
    return "a web server answers that is no S3, or a proxy; check endpoint"
