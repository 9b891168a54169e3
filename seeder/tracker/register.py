"""For whom passkeys were made, and which were revoked.

A register grows only: each entry is a pair of numbers, and of two that differ the greater numbers
count. So registers of several nodes can be joined in any order, as often as one likes, and what one
node decides holds at all.

No I/O.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seeder.tracker.passkeys import LATEST_SECOND, Passkey, check_holder
from seeder.units import MIB

MOST_MADE = 100_000
"""Holders' keys that are listed; of more, those that end first are left out."""
MOST_MADE_BYTES = 24 * MIB
"""The same, in bytes of JSON."""
EXPIRED_KEPT_FOR = 30 * 86_400
"""Seconds for which a key is listed that has expired."""
CLOCKS_AHEAD = 60
"""Seconds by which the clock of another node may be ahead: what it has made by now is revoked, too.
"""
_FORMAT = 1
_LONGEST_NAME = 2048


@dataclass(frozen=True, slots=True)
class Made:
    """What keys were made for a holder and an object; times in Unix seconds."""

    holder: str
    name: str
    """Of the object: BUCKET/KEY."""
    issued: int
    """When the last one was made."""
    expires: int
    """When the last of them ends."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """All keys of a holder that were issued up to a moment are good for nothing."""

    until: int
    """Unix seconds."""
    at: int
    """When that was decided (Unix s)."""


@dataclass(slots=True)
class Register:
    """What is known of passkeys, by holder. Registers of several nodes can be joined."""

    made: dict[str, dict[str, Made]] = field(default_factory=dict)
    """By holder and object."""
    revoked: dict[str, Revocation] = field(default_factory=dict)
    welcomed: dict[str, int] = field(default_factory=dict)
    """When a key was issued that the operator made for a holder, the last one (Unix s): after a
    revocation that lets the holder in again, and nothing that it asked for by itself does."""

    def issue(
        self, holder: str, name: str, now: float, valid: float, *, by_operator: bool
    ) -> Passkey:
        """Return a new key for a holder and an object, good for `valid` seconds from `now` on.

        Where the clock was set back, it is issued just after the last revocation.
        """
        issued = int(now)
        if holder in self.revoked:
            issued = max(issued, self._until(holder) + 1)
        expires = max(int(now), issued) + int(valid)
        passkey = Passkey(holder, min(issued, LATEST_SECOND), min(expires, LATEST_SECOND))
        self.note(Made(holder, name, passkey.issued, passkey.expires))
        if by_operator:
            self.welcome(holder, passkey.issued)
        return passkey

    def note(self, made: Made) -> None:
        """Take in that a key was made."""
        of_holder = self.made.setdefault(made.holder, {})
        known = of_holder.get(made.name, made)
        of_holder[made.name] = Made(
            made.holder,
            made.name,
            max(known.issued, made.issued),
            max(known.expires, made.expires),
        )

    def welcome(self, holder: str, issued: int) -> None:
        """Take in that the operator made a key for a holder, issued then (Unix s)."""
        self.welcomed[holder] = max(issued, self.welcomed.get(holder, issued))

    def revoke(self, holder: str, now: float) -> None:
        """Revoke all keys that a holder has by now, also those that a clock ahead of ours made."""
        issued = [made.issued for made in self.of(holder)]
        until = max(int(now) + CLOCKS_AHEAD, self.welcomed.get(holder, 0), *issued, 0)
        self.note_revoked(holder, Revocation(min(until, LATEST_SECOND), int(now)))

    def note_revoked(self, holder: str, revocation: Revocation) -> None:
        """Take in that a holder was revoked."""
        known = self.revoked.get(holder, revocation)
        self.revoked[holder] = Revocation(
            max(known.until, revocation.until), max(known.at, revocation.at)
        )

    def is_shut_out(self, holder: str) -> bool:
        """Tell whether a holder was revoked, and the operator has made it no other key since."""
        known = self.revoked.get(holder)
        return known is not None and self.welcomed.get(holder, -1) <= known.until

    def of(self, holder: str) -> Iterable[Made]:
        """Return the keys of a holder."""
        return self.made.get(holder, {}).values()

    def all_made(self) -> Iterable[Made]:
        """Return the keys of all holders."""
        return [made for of_holder in self.made.values() for made in of_holder.values()]

    def knows(self, holder: str) -> bool:
        """Tell whether a holder has had a key, or was revoked."""
        return holder in self.revoked or holder in self.made

    def until(self) -> Mapping[str, int]:
        """Return the last second (Unix) in which the revoked keys of each holder were issued."""
        return {holder: self._until(holder) for holder in self.revoked}

    def _until(self, holder: str) -> int:
        until = self.revoked[holder].until
        if self.is_shut_out(holder):
            # A node that didn't know of it yet may have given the holder what it asked for.
            until = max([until, *(made.issued for made in self.of(holder))])
        return until

    def join(self, other: "Register") -> None:
        """Take in what another register has; in what order they are joined makes no difference."""
        for made in other.all_made():
            self.note(made)
        for holder, each in other.revoked.items():
            self.note_revoked(holder, each)
        for holder, issued in other.welcomed.items():
            self.welcome(holder, issued)

    def trimmed(self, now: float) -> "Register":
        """Return it without what nobody needs any more, and within its bounds.

        Every revocation stays: nobody knows for how long a key is good that isn't listed any more.
        """
        listed = [made for made in self.all_made() if made.expires > now - EXPIRED_KEPT_FOR]
        # What was issued in what we take for the future is needed to revoke it.
        listed.sort(key=lambda made: (made.issued > now, made.expires), reverse=True)
        kept = Register(revoked=dict(self.revoked))
        size = 0
        for made in listed[:MOST_MADE]:
            size += len(json.dumps(_row(made)))
            if size > MOST_MADE_BYTES:
                break
            kept.note(made)
        kept.welcomed = {
            holder: issued for holder, issued in self.welcomed.items() if kept.knows(holder)
        }
        return kept

    def document(self) -> Mapping[str, object]:
        """Return it as JSON has it."""
        return {
            "passkeys": _FORMAT,
            "made": [_row(made) for made in self.all_made()],
            "revoked": {holder: [each.until, each.at] for holder, each in self.revoked.items()},
            "welcomed": self.welcomed,
        }


def _row(made: Made) -> list[object]:
    return [made.holder, made.name, made.issued, made.expires]


def read_register(document: Any) -> Register:
    """Return what `Register.document` made; ValueError for anything else."""
    register = Register()
    try:
        if document["passkeys"] != _FORMAT:
            raise ValueError("another version wrote it")
        for holder, name, issued, expires in document["made"]:
            register.note(checked_made(holder, name, issued, expires))
        for holder, (until, at) in document["revoked"].items():
            register.note_revoked(_holder(holder), checked_revocation(until, at))
        # An earlier version let a revoked holder in again by any key that was made later.
        welcomed = document.get(
            "welcomed", {made.holder: made.issued for made in register.all_made()}
        )
        for holder, issued in welcomed.items():
            register.welcome(_holder(holder), checked_moment(issued))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no register of passkeys: {error!r}") from error
    return register


def checked_made(holder: object, name: object, issued: object, expires: object) -> Made:
    """Return an entry of somebody else's; ValueError if it is none."""
    return Made(_holder(holder), _text(name), checked_moment(issued), checked_moment(expires))


def checked_revocation(until: object, at: object) -> Revocation:
    """Return an entry of somebody else's; ValueError if it is none."""
    return Revocation(checked_moment(until), checked_moment(at))


def _holder(value: object) -> str:
    return check_holder(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise ValueError("a name in it is none")
    return value


def checked_moment(value: object) -> int:
    """Return a time (Unix s) of somebody else's; ValueError if a key can't name it."""
    if type(value) is not int or not 0 <= value <= LATEST_SECOND:
        raise ValueError("a time in it is none")
    return value
