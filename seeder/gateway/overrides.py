"""How a signed request wants an object described, as S3 has it: `response-content-type` and others.

Whoever hands out a presigned URL names the file by it, for instance. No I/O.
"""

from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request, decoded_query
from seeder.torrent.objects import Description

_PREFIX = b"response-"
_DESCRIBING = frozenset(
    {"content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)
"""The headers that may be other ones; Cache-Control stays ours."""


def overridden(request: Request, told: Description | None) -> Description | None:
    """Return what a request wants told of an object, where S3 tells `told`; S3Error.

    InvalidArgument for what can't stand in a header.
    """
    if _PREFIX not in request.query:
        return told
    told = told or Description()
    headers = dict(told.headers)
    for name, value in decoded_query(request.query):
        header = name.removeprefix(_PREFIX).decode("latin-1")
        if not name.startswith(_PREFIX) or header not in _DESCRIBING:
            continue
        text = value.decode("latin-1")
        if not (text.isascii() and text.isprintable()):
            why = f"The value of response-{header} can't stand in a header."
            raise S3Error("InvalidArgument", why)
        headers[header] = text
    headers = {name: text for name, text in headers.items() if text}
    return Description(told.modified, tuple(sorted(headers.items())))
