"""Under what name a browser saves what it gets (RFC 6266). No I/O."""

import re
from urllib.parse import quote

# A token of RFC 9110 without the characters that RFC 6266 warns of, or with which none begins.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")
_UNQUOTABLE = re.compile(r'[^ -~]|["\\%]')


def content_disposition(filename: str) -> bytes:
    """Return a Content-Disposition that saves under `filename` (RFC 6266).

    A plain name stands as S3 wrote it; any other one is quoted for old clients, with `_` for what
    can't be, and spelt out in UTF-8 for the rest.
    """
    if _PLAIN_NAME.fullmatch(filename):
        return f"attachment; filename={filename};".encode()
    fallback = _UNQUOTABLE.sub("_", filename)
    spelt = quote(filename, safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{spelt}".encode()
