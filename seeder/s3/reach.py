"""Whether one origin answers: when it went away, why, when it came back, what that cost. No I/O.

It is away when a call is given up, or when nothing has come for a while although something is
wanted, unless others got an answer meanwhile. It is back with the first answer. Each is one line
of the log, however many objects and peers wait. Times are of one clock, in seconds.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Trouble:
    """What has happened since the last answer."""

    since: float
    reason: str
    failures: int = 0
    """Attempts that failed."""
    received: int = 0
    """Bytes that they brought."""


class Reach:
    """Told of attempts and answers; `away` once it is clear that there are none."""

    def __init__(self, silence: float) -> None:
        self.away = False
        self.last_answer: float | None = None
        self._silence = silence
        self._wanted = 0
        self._wanted_since = 0.0
        self._trouble: Trouble | None = None

    @property
    def reason(self) -> str | None:
        """Why it counts as away."""
        return self._trouble.reason if self.away and self._trouble else None

    @property
    def since(self) -> float | None:
        """Since when it has been away."""
        return self._trouble.since if self.away and self._trouble else None

    def trouble(self, now: float, host: str) -> Trouble | None:
        """Return what there is since the last answer: failures, or something that doesn't come."""
        quiet = self.quiet_for(now)
        if self._trouble is None and quiet:
            return Trouble(now - quiet, f"nothing has come from {host} for {quiet:.0f} s")
        return self._trouble

    def want(self, now: float) -> None:
        """Expect an answer from now on."""
        if not self._wanted:
            self._wanted_since = now
        self._wanted += 1

    def unwant(self) -> None:
        """Expect it no more."""
        self._wanted -= 1

    def heard(self, now: float) -> str | None:
        """Take note of an answer, or a part of one; return what it cost, if it had been away."""
        self.last_answer = now
        trouble, self._trouble = self._trouble, None
        if not self.away or trouble is None:
            return None
        self.away = False
        attempts = "1 attempt" if trouble.failures == 1 else f"{trouble.failures} attempts"
        return f"after {now - trouble.since:.0f} s: {attempts} failed and brought" + (
            f" {trouble.received} bytes" if trouble.received else " nothing"
        )

    def failed(self, began: float, reason: str, received: int) -> None:
        """Take note of an attempt that brought no answer, or a 5xx, or not all of a body."""
        if self._trouble is None:
            self._trouble = Trouble(began, reason)
        self._trouble.failures += 1
        self._trouble.received += received

    def gave_up(self, began: float, reason: str) -> bool:
        """Take note that a call is given up; return whether the origin has gone away by that."""
        if self.away or (self.last_answer is not None and self.last_answer > began):
            return False
        return self._leave(began, reason)

    def is_quiet_since(self, then: float | None) -> bool:
        """Tell whether no answer has come since then; False if `then` is None."""
        return then is not None and (self.last_answer or 0.0) < then

    def quiet_for(self, now: float) -> float:
        """Return for how long nothing has come though something is wanted (s)."""
        return now - self._quiet_since if self._wanted else 0.0

    @property
    def _quiet_since(self) -> float:
        return max(self._wanted_since, self.last_answer or 0.0)

    def silent(self, now: float, host: str) -> bool:
        """Return whether the origin has gone away, since nothing came at this tick either."""
        since = self._quiet_since
        if self.away or not self._wanted or now - since < self._silence:
            return False
        return self._leave(since, f"nothing has come from {host} for {now - since:.0f} s")

    def _leave(self, since: float, reason: str) -> bool:
        self.away = True
        if self._trouble is None:
            self._trouble = Trouble(since, reason)
        else:
            self._trouble.reason = reason
        return True
