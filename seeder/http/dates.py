"""Dates in headers (RFC 9110, 5.6.7). No I/O."""

import re
from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}})"
        rf" {_TIME} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}})"
        rf" {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_TIME}"
        r" (?P<year>[0-9]{4})",
    )
)
"""As it is sent today, and the two forms of old that have to be understood."""
_CENTURY = 70
"""A year of two digits from here on is one of the last century."""


def format_date(seconds: int) -> str:
    """Return Unix seconds as a date in a header."""
    then = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[then.weekday()], _MONTHS[then.month - 1]
    return f"{day}, {then.day:02} {month} {then.year:04} {then:%H:%M:%S} GMT"


def parse_date(text: str) -> int | None:
    """Return a date of a header in Unix seconds; None where it is none, or before 1970."""
    found = next((match for form in _FORMS if (match := form.fullmatch(text.strip()))), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 1900 if year >= _CENTURY else 2000
    try:
        then = datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"]), 59),  # 60 is a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    seconds = int(then.timestamp())
    return seconds if seconds >= 0 else None
