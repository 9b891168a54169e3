"""Ports that nobody uses."""

import os
import random
import socket
from itertools import cycle

from tests.support.processes import HarnessError

# Below Linux's default range of ephemeral ports: no outgoing connection can take one meanwhile.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


def _own_ports() -> list[int]:
    """Return this process' share of the ports: others that run tests beside it have others."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return list(range(_FIRST_PORT + worker, _LAST_PORT, workers))


# In turns: a port is often bound only long after it was found, and until then is nobody else's.
_PORTS = _own_ports()
random.shuffle(_PORTS)
_NEXT = cycle(_PORTS)


def free_port(address: str) -> int:
    """Return a port of `address` that neither TCP nor UDP uses, in this thread's network.

    It isn't returned again before all others were.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _, port in zip(range(200), _NEXT, strict=False):
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise HarnessError(f"no free port on {address}")
