"""Dates in headers (RFC 9110, 5.6.7). No I/O."""

import re
from datetime import UTC, datetime
from email.utils import formatdate, parsedate

_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_FORM = re.compile(
    rf"[A-Z][a-z]{{2}}, [0-9]{{2}} [A-Z][a-z]{{2}} [1-9][0-9]{{3}} {_TIME} GMT"
    rf"|[A-Z][a-z]{{5,8}}, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {_TIME} GMT"
    rf"|[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ 0-9][0-9] {_TIME} [1-9][0-9]{{3}}"
)
"""As it is sent today, and the two of old that have to be understood; `parsedate` takes more."""


def format_date(seconds: int) -> str:
    """Return Unix seconds as a date in a header."""
    return formatdate(seconds, usegmt=True)


def parse_date(text: str) -> int | None:
    """Return a date of a header in Unix seconds; None where it is none, or before 1970."""
    text = text.strip()
    found = parsedate(text) if _FORM.fullmatch(text) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = found[:6]
    try:
        # 60 is a leap second.
        then = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    seconds = int(then.timestamp())
    return seconds if seconds >= 0 else None
