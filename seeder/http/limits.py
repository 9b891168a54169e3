"""What HTTP clients may use. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one server; times in seconds, sizes in bytes."""

    connections: int = 1000
    """Those that let us wait; beyond, the one that has been idle for longest is closed."""
    head: int = 16 * 1024
    """Request line and headers."""
    head_timeout: float = 5.0
    """For the first byte of a new connection, and from the first byte of a head to its end."""
    idle_timeout: float = 30.0
    """Between two requests."""
    handler_timeout: float = 60.0
    send_timeout: float = 30.0
    """For a client to take any more of a reply."""
    linger_timeout: float = 2.0
    """For what a client goes on sending after it was refused."""
    grace: float = 5.0
    """For what is in flight when the server stops."""
