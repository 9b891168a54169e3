"""What a server is given: who answers, within which limits, and what goes with every answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from seeder.http.bodies import Bodies, Worded
from seeder.http.dates import format_date
from seeder.http.messages import NOWHERE, Handler, Hostless, SentMeter


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one server; times in seconds, sizes in bytes."""

    connections: int = 1000
    """Connections that we wait for; beyond that, one of the largest network is closed."""
    in_turn: bool = False
    """Whether a newcomer waits until one of the others is through, and nobody is closed for it who
    has asked; so that this comes soon, each connection is for one request."""
    head: int = 16 * 1024
    """Request line and headers."""
    head_timeout: float = 5.0
    """Until the first byte of a new connection, and from the first byte of a head to its end."""
    idle_timeout: float = 30.0
    """Between two requests."""
    handler_timeout: float = 60.0
    send_timeout: float = 30.0
    """Until a client takes any more of a reply."""
    linger_timeout: float = 2.0
    """Until a client that sends more than is answered sends more of what is dropped."""
    linger: float = 15.0
    """For all of what it goes on sending."""
    grace: float = 5.0
    """For requests that are being answered when the server stops."""
    arrival: float = 1.0
    """For the first request of a connection that was accepted before the server stops."""


class DateHeader:
    """The value of the Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def value(self) -> bytes:
        """Return the current time (RFC 9110, 5.6.7)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._value = format_date(second).encode()
        return self._value


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """How the requests to one server are answered."""

    handler: Handler
    limits: ServerLimits = ServerLimits()
    meter: SentMeter | None = None
    """Counts what is sent of replies that have no meter of their own."""
    hostless: Hostless = field(default_factory=lambda: NOWHERE)
    """The pages that are answered without a Host header, too."""
    bodies: Bodies | None = None
    """Tells how much is read of a request's body before the handler gets it; None: nothing."""
    worded: Worded | None = None
    """Words the refusals of what isn't taken."""
    date: Callable[[], bytes] = field(default_factory=lambda: DateHeader().value)
    """Returns the value of the Date header."""
