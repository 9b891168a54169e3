"""What a program can't have more of: it is no fault of ours, and whoever runs it can mend it.

No I/O.
"""

import errno

NO_MEMORY = (
    "no memory is left: lower cache.memory, or raise the limit (MemoryMax= in the unit, ulimit -v)"
)
NO_THREAD = (
    "no thread can be started: raise the limits of tasks and memory (TasksMax= and MemoryMax= in"
    " the unit, ulimit -u and -v)"
)
NO_DESCRIPTOR = "too many files are open: raise LimitNOFILE= in the unit (elsewhere ulimit -n)"


def why_it_failed(error: BaseException) -> str:
    """Return what is told of an error that nobody foresaw, in half a line."""
    return scarcity_of(error) or f"internal error: {error!r}"


def scarcity_of(error: BaseException | None) -> str | None:
    """Return what is lacking, and what to do, if that is all that an error says."""
    if isinstance(error, BaseExceptionGroup):
        found = {scarcity_of(each) for each in error.exceptions}
        return None if None in found else min(filter(None, found))
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return NO_THREAD
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return NO_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return NO_DESCRIPTOR
    return None
