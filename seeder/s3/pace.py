"""Whether the exchanges with one origin come on: those that don't are let go. No I/O.

A read that has fallen far behind the others of the same time goes on over another connection, from
the byte that it has reached: that costs one request, and no byte twice. Where all are slow, none
is behind. Where a read is alone, it is held against those that ended lately.
"""

from collections import deque
from collections.abc import Callable

from seeder.s3.stalls import Outstanding

_WINDOW = 4
"""Ticks over which reads are compared."""
_LONG_WINDOW = 30
"""Ticks in which a body must bring LEAST_RATE."""
LEAST_RATE = 4 * 1024
"""Bytes/s: a body that is slower over the long window is given up, whatever the others do."""
_BEHIND = 8
"""How many times as fast the others must be."""
_SOON = 10.0
"""Seconds: a read that will have ended by then is left alone. Peers wait 20 s for a block."""
_FAST = 64 * 1024
"""Bytes/s that the others must bring at least: below that no connection is worth a request."""
_RATED = 64 * 1024
"""Bytes from which on an exchange tells something of the origin's rate."""
_DOUBT = 1 / 2
"""Ticks in which an exchange from before a silence must bring something after it."""
_SHARE = 1 / 20
"""How many reads may be let go for each that ends, beyond _SPARE of them at once."""
_SPARE = 4.0
_LATEST = 1 / 8
"""The weight of the newest exchange in what counts as usual."""


class Progress:
    """How far one exchange has come; `size` are the bytes that it will bring, if that is known.

    `may_switch` says whether it can go on elsewhere from where it is.
    """

    __slots__ = (
        "_marks",
        "answered_at",
        "began",
        "fault",
        "let_go",
        "may_switch",
        "received",
        "size",
        "switched",
        "waits",
    )

    def __init__(
        self, size: int, *, may_switch: bool = False, waits: tuple[Outstanding, ...] = ()
    ) -> None:
        self.size = size
        self.waits = waits
        """Told of its beginning, of its end, and now and then of what comes."""
        self.may_switch = may_switch
        self.received = 0
        """Bytes of its body so far."""
        self.began = 0.0
        self.answered_at: float | None = None
        """When the head of an answer came that is no error."""
        self.let_go: Callable[[], None] = _nothing
        """Ends the exchange."""
        self.switched = False
        """Whether it was let go because the others are faster."""
        self.fault: str | None = None
        """Why it was let go, for the text of the error."""
        self._marks: deque[int] = deque([0], _LONG_WINDOW + 1)

    def mark(self) -> int:
        """Note how far it is at a tick; return the bytes since the last one."""
        before = self._marks[-1]
        self._marks.append(self.received)
        return self.received - before

    @property
    def unmarked(self) -> int:
        """Bytes since the last tick."""
        return self.received - self._marks[-1]

    def gained(self, ticks: int) -> int | None:
        """Return the bytes of the last so many ticks; None if it is younger."""
        return self._marks[-1] - self._marks[-1 - ticks] if len(self._marks) > ticks else None


class Pace:
    """The exchanges with one origin that are under way, and what is usual there.

    Call `tick` every second or so while there are any. Times are of one clock, in seconds.
    """

    def __init__(self) -> None:
        self.active: dict[Progress, None] = {}
        self.switches = 0
        """Reads that were let go since the others were faster."""
        self._spare = _SPARE
        self._rate: float | None = None
        """Bytes/s of a whole exchange, as usual of late."""
        self._wait = 0.0
        """Seconds until the head comes, as usual of late."""
        self._ticks: deque[float] = deque(maxlen=_LONG_WINDOW + 1)
        self._flow: deque[tuple[int, float]] = deque(maxlen=_WINDOW)
        """Of each of the last ticks: the bytes that came, and the seconds of all reads in it."""
        self._suspects: dict[Progress, int] = {}
        """Exchanges that are let go unless they bring more than those bytes."""
        self._suspected_at = 0.0
        self._ended_flow = (0, 0.0)
        """The same of the exchanges that have ended since the last tick."""

    @property
    def usual_wait(self) -> float:
        """Seconds until the head of an answer comes, as usual of late."""
        return self._wait

    def suspect(self, before: float, now: float) -> bool:
        """Let go soon what began before that and brings nothing now, though S3 is heard again.

        Returns whether there is any.
        """
        self._suspects = {each: each.received for each in self.active if each.began < before}
        self._suspected_at = now
        return bool(self._suspects)

    def begin(self, progress: Progress, now: float, let_go: Callable[[], None]) -> None:
        """Take note of an exchange that has a connection, or opens one."""
        if not self._ticks:
            self._ticks.append(now)
        progress.began, progress.let_go = now, let_go
        self.active[progress] = None
        for wait in progress.waits:
            wait.tried()

    def end(self, progress: Progress, now: float) -> None:
        """Take note of its end, however it ended."""
        if self.active.pop(progress, self) is self:
            return
        self._suspects.pop(progress, None)
        for wait in progress.waits:
            wait.ended()
        seconds = now - progress.began
        came, spent = self._ended_flow
        since = max(progress.began, self._ticks[-1])
        self._ended_flow = came + progress.unmarked, spent + now - since
        if progress.answered_at is not None:
            self._wait += (progress.answered_at - progress.began - self._wait) * _LATEST
        if progress.received >= _RATED or progress.switched:
            rate = progress.received / max(seconds, 0.001)
            before = rate if self._rate is None else self._rate
            self._rate = before + (rate - before) * _LATEST
        if progress.may_switch and not progress.switched:
            self._spare = min(_SPARE, self._spare + _SHARE)

    def tick(self, now: float) -> bool:
        """Let go what doesn't come on; return whether something of an object came on."""
        came, spent = self._ended_flow
        self._ended_flow = (0, 0.0)
        last = self._ticks[-1]
        moved = False
        for progress in self.active:
            count = progress.mark()
            came += count
            spent += now - max(last, progress.began)
            if count and progress.answered_at is not None:
                moved = True
                for wait in progress.waits:
                    wait.heard(now)
        self._ticks.append(now)
        self._flow.append((came, spent))
        for progress in tuple(self.active):
            if progress.fault is None:
                self._judge(progress, now)
        if self._suspects and now - self._suspected_at >= _DOUBT * (now - last):
            self._judge_suspects()
        return moved

    def _judge_suspects(self) -> None:
        for progress, received in self._suspects.items():
            answered = (progress.answered_at or 0.0) >= self._suspected_at
            if progress.fault is None and progress.received == received and not answered:
                progress.fault = "brings nothing since S3 was silent"
                progress.let_go()
        self._suspects = {}

    def rest(self) -> None:
        """Forget the last ticks: nothing is under way, and no tick will come."""
        self._ticks.clear()
        self._flow.clear()
        self._suspects = {}

    def _judge(self, progress: Progress, now: float) -> None:
        gained = progress.gained(_LONG_WINDOW)
        if gained is not None and progress.answered_at is not None:
            seconds = now - self._ticks[-1 - _LONG_WINDOW]
            if progress.answered_at <= now - seconds and gained < LEAST_RATE * seconds:
                progress.fault = f"sends less than {LEAST_RATE // 1024} KiB a second"
                progress.let_go()
                return
        if progress.may_switch and self._spare >= 1 and self._is_behind(progress, now):
            self._spare -= 1
            self.switches += 1
            progress.switched = True
            progress.fault = "sends much more slowly over this connection than over others"
            progress.let_go()

    def _is_behind(self, progress: Progress, now: float) -> bool:
        gained = progress.gained(_WINDOW)
        if gained is None:
            return False
        seconds = now - self._ticks[-1 - _WINDOW]
        if not progress.received and now - progress.began < seconds + _WINDOW * self._wait:
            return False  # no answer yet, which may be usual
        own = gained / seconds
        if progress.size - progress.received <= own * _SOON:
            return False
        # Also in the second half of the window: when all fall silent, some do so a moment earlier.
        others = [self._rate_of_others(progress, ticks) for ticks in (_WINDOW, _WINDOW // 2)]
        return all(rate is not None and rate >= max(_FAST, _BEHIND * own) for rate in others)

    def _rate_of_others(self, progress: Progress, ticks: int) -> float | None:
        """Return the bytes/s of one other read in the last ticks; as usual, if there was none."""
        seconds = self._ticks[-1] - self._ticks[-1 - ticks]
        flow = tuple(self._flow)[-ticks:]
        came = sum(came for came, _ in flow) - (progress.gained(ticks) or 0)
        spent = sum(spent for _, spent in flow) - seconds
        return came / spent if spent >= seconds / ticks else self._rate


def _nothing() -> None:
    """There is nothing to end yet."""
