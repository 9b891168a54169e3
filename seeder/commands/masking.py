"""Texts for people without what URLs have that opens something: people paste them into forums.

No I/O.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

from seeder.tracker.passkeys import hide_passkeys

_PLAIN = re.compile(r"[a-z-]{1,12}(?:\.[a-z]{1,5})?", re.IGNORECASE)
"""A part of a tracker's path that is no key: announce, announce.php, tracker."""
_PAGES = ("announce", "scrape")
_LEAST_KEY = 8
"""Characters of the shortest key that is hidden; trackers' have 32 or so."""


def mask_of(urls: Iterable[str]) -> Callable[[str], str]:
    """Return what writes "..." in a text for keys, passwords and signatures of these URLs.

    Those are values of the query, whoever stands before the host, what follows /announce/,
    /scrape/ and /-/, and what stands before /announce. A tracker may repeat them, and encode them
    otherwise.
    """
    secrets = {spelling for url in urls for each in _secrets(url) for spelling in _spellings(each)}
    if not secrets:
        return hide_passkeys
    # The longest first: one may be the beginning of another.
    pattern = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))), re.I)
    return lambda text: hide_passkeys(pattern.sub("...", text))


def _secrets(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user, at, _ = parts.netloc.rpartition("@")
    if at:
        yield user + at
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    yield from (value for value in values if len(value) >= _LEAST_KEY)
    steps = [step for step in parts.path.split("/") if step]
    yield from (step for step in _keys_among(steps) if len(step) >= _LEAST_KEY)


def _keys_among(steps: Sequence[str]) -> Iterator[str]:
    words = [unquote(step).lower() for step in steps]
    if words and words[0] in _PAGES:
        yield from steps[1:]
    elif words and words[0] == "-":
        yield from steps[1:2]
    elif words and words[-1].startswith(_PAGES):
        yield from (step for step in steps[:-1] if not _PLAIN.fullmatch(step))


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    plain = unquote(secret)
    if len(plain) >= _LEAST_KEY:
        yield plain
