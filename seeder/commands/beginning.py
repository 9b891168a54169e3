"""What the daemon makes sure of before anything else."""

import logging
import os
import signal
import sys

from seeder.daemon.run import STILL_STARTING

_LOG = logging.getLogger(__name__)


def heed_early_reloads() -> None:
    """Tell whoever wants a reload during the start that the file was read already."""
    signal.signal(signal.SIGHUP, _tell)


def _tell(*_: object) -> None:
    _LOG.warning("%s", STILL_STARTING)


def hold_standard_streams() -> None:
    """Have the descriptors 0 to 2 be something, and stderr a stream.

    Of what was started with one closed, the next file or socket has its number, and gets what a
    library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  (as long as we live)
