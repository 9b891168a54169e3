"""CORS: what pages of other sites may read here, which is what anybody may have (Fetch standard).

They read without credentials: a page is told `*`, for which browsers send no cookies, and no
preflight allows Authorization. So a page gets no further than its visitor could without keys. No
I/O.
"""

import re

from seeder.http.messages import Header, Request, Response

_ANYBODY: Header = (b"Access-Control-Allow-Origin", b"*")
_EXPOSED: Header = (
    b"Access-Control-Expose-Headers",
    b"Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Range, ETag,"
    b" Last-Modified, Retry-After, x-amz-request-id, *",
)
"""By name too: `*` is younger than some browsers."""
_EMBEDDED: tuple[Header, ...] = (
    # For <img>, <video> and fonts on pages that isolate themselves (Cross-Origin-Embedder-Policy:
    # require-corp), and for such a page's performance timeline.
    (b"Cross-Origin-Resource-Policy", b"cross-origin"),
    (b"Timing-Allow-Origin", b"*"),
)
_METHODS = (b"GET", b"HEAD")
_NEVER = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_MOST_NAMES = 50
_AGE = b"7200"
"""Seconds for which browsers remember a preflight; none does for longer."""


def for_pages(response: Response) -> Response:
    """Return a response that pages of other sites may read and embed."""
    return response._replace(headers=(*response.headers, _ANYBODY, _EXPOSED, *_EMBEDDED))


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks what a page may ask for."""
    return (
        request.method == b"OPTIONS"
        and not request.has_body
        and request.header(b"origin") is not None
        and request.header(b"access-control-request-method") is not None
    )


def answer_preflight(request: Request) -> Response:
    """Answer which requests a page may make: any that reads, with any headers but credentials."""
    asked = b",".join(request.all_headers(b"access-control-request-headers")).lower()
    names = [name.strip() for name in asked.split(b",")][:_MOST_NAMES]
    allowed = [name for name in names if _NAME.fullmatch(name) and name not in _NEVER]
    headers: tuple[Header, ...] = (
        _ANYBODY,
        (b"Access-Control-Allow-Methods", b", ".join(_METHODS)),
        (b"Access-Control-Max-Age", _AGE),
    )
    if allowed:
        headers += ((b"Access-Control-Allow-Headers", b", ".join(allowed)),)
    return Response(200, b"", headers)
