"""Ports that nobody uses."""

import random
import socket

from tests.support.processes import HarnessError

# Below Linux's default range of ephemeral ports: no outgoing connection can take one meanwhile.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


def free_port(address: str) -> int:
    """Return a port of `address` that neither TCP nor UDP uses, in this thread's network."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT), 200):
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise HarnessError(f"no free port on {address}")
