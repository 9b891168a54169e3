"""For whom passkeys were made, and which were revoked. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seeder.tracker.passkeys import LATEST, Passkey, check_holder

MOST_MADE = 100_000
"""Holders' keys that are listed; of more, those that end first are left out."""
MOST_REVOKED = 100_000
KEPT_FOR = 30 * 86_400
"""Seconds for which a key is listed that has expired."""
_FORMAT = 1
_LONGEST_NAME = 2048


@dataclass(frozen=True, slots=True)
class Made:
    """The last key that was made for a holder and an object; times in Unix seconds."""

    holder: str
    name: str
    """Of the object: BUCKET/KEY."""
    issued: int
    expires: int


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

    def issue(self, holder: str, name: str, now: float, valid: float) -> Passkey:
        """Return a new key for a holder and an object, good for `valid` seconds from `now` on.

        Where the clock was set back, it is issued just after the last revocation.
        """
        issued = int(now)
        if holder in self.revoked:
            issued = max(issued, self.revoked[holder].until + 1)
        passkey = Passkey(holder, min(issued, LATEST), min(int(now + valid), LATEST))
        self.note(Made(holder, name, passkey.issued, passkey.expires))
        return passkey

    def note(self, made: Made) -> bool:
        """Take in that a key was made; tell whether that is news."""
        of_holder = self.made.setdefault(made.holder, {})
        known = of_holder.get(made.name)
        if known is not None and (known.issued, known.expires) >= (made.issued, made.expires):
            return False
        of_holder[made.name] = made
        return True

    def revoke(self, holder: str, now: float) -> Revocation:
        """Revoke all keys that a holder has by now, also those that a clock ahead of ours made."""
        issued = [made.issued for made in self.of(holder)]
        known = self.revoked.get(holder)
        until = max([int(now), *issued, 0 if known is None else known.until])
        self.revoked[holder] = Revocation(until, int(now))
        return self.revoked[holder]

    def is_shut_out(self, holder: str) -> bool:
        """Tell whether a holder was revoked, and nobody has made it another key since."""
        known = self.revoked.get(holder)
        return known is not None and not any(made.issued > known.until for made in self.of(holder))

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
        return {holder: each.until for holder, each in self.revoked.items()}

    def join(self, other: "Register") -> None:
        """Take in what another register has; in what order they are joined makes no difference."""
        for made in other.all_made():
            self.note(made)
        for holder, each in other.revoked.items():
            known = self.revoked.get(holder, each)
            self.revoked[holder] = max(known, each, key=lambda every: (every.until, every.at))

    def trimmed(self, now: float) -> "Register":
        """Return it without what nobody needs any more, and within its bounds."""
        listed = [made for made in self.all_made() if made.expires > now - KEPT_FOR]
        listed.sort(key=lambda made: made.expires)
        # A key lasts a year at most, but a revocation costs little, and losing one too much.
        revoked = sorted(self.revoked.items(), key=lambda pair: pair[1].until)
        kept = Register(revoked=dict(revoked[-MOST_REVOKED:]))
        for made in listed[-MOST_MADE:]:
            kept.note(made)
        return kept

    def document(self) -> Mapping[str, object]:
        """Return it as JSON has it."""
        return {
            "passkeys": _FORMAT,
            "made": [
                [made.holder, made.name, made.issued, made.expires] for made in self.all_made()
            ],
            "revoked": {holder: [each.until, each.at] for holder, each in self.revoked.items()},
        }


def read_register(document: Any) -> Register:
    """Return what `Register.document` made; ValueError for anything else."""
    try:
        if document["passkeys"] != _FORMAT:
            raise ValueError("another version wrote it")
        made = [
            Made(_holder(holder), _text(name), _moment(issued), _moment(expires))
            for holder, name, issued, expires in document["made"]
        ]
        revoked = {
            _holder(holder): Revocation(_moment(until), _moment(at))
            for holder, (until, at) in document["revoked"].items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no register of passkeys: {error!r}") from error
    register = Register(revoked=revoked)
    for each in made:
        register.note(each)
    return register


def _holder(value: object) -> str:
    return check_holder(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise ValueError("a name in it is none")
    return value


def _moment(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= LATEST:
        raise ValueError("a time in it is none")
    return value
