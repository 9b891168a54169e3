"""What is wrong with the store, in half a line that says what to do.

`explain` takes an error by its class's name, as coredis has it, and its text, as Redis sent it; in
a script's error both may stand in the text alone.

No I/O.
"""

import re
from collections.abc import Iterator

_ACL = 'see "Redis for a cluster" in the documentation'
_BY_KIND = {
    "AuthenticationFailureError": "WRONGPASS",
    "AuthenticationRequiredError": "NOAUTH",
    "AuthorizationError": "NOPERM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "WrongTypeError": "WRONGTYPE",
    "MovedError": "MOVED",
    "AskError": "MOVED",
    "ClusterDownError": "MOVED",
    "ClusterCrossSlotError": "MOVED",
    "TryAgainError": "MOVED",
    "UnknownCommandError": "unknown command",
}
_REASONS = (
    (
        "WRONGPASS",
        "refuses this user and password: see cluster.password_file and the user in cluster.store",
    ),
    ("NOAUTH", "wants a password: set cluster.password_file"),
    ("NOPERM", f"doesn't let its user do that ({{text}}): {_ACL}"),
    ("no permissions", f"doesn't let its user do that ({{text}}): {_ACL}"),
    ("user executing the script", f"doesn't let its user do that ({{text}}): {_ACL}"),
    ("READONLY", "is a replica, which takes no writes: cluster.store wants the primary"),
    ("LOADING", "is loading its data"),
    ("MASTERDOWN", "is a replica without a primary: cluster.store wants the primary"),
    ("OOM ", "is full (OOM): give it more maxmemory"),
    ("MISCONF", "takes no writes since it can't save its data to disk: see its log"),
    ("NOREPLICAS", "takes no writes since its replicas are away (min-replicas-to-write)"),
    (
        "WRONGTYPE",
        "has something else under a key of ours ({text}): is cluster.prefix another program's?",
    ),
    ("MOVED", "is a Redis Cluster, which can't be used: cluster.store wants a single server"),
    ("CLUSTERDOWN", "is a Redis Cluster, which can't be used: cluster.store wants a single server"),
    ("CROSSSLOT", "is a Redis Cluster, which can't be used: cluster.store wants a single server"),
    ("BUSY ", "is held up by somebody's script"),
    ("max number of clients", "has no room for another connection (maxclients)"),
    ("DB index", "has no database of that number: see cluster.store"),
    ("invalid DB", "has no database of that number: see cluster.store"),
    ("protected mode", "takes connections of its own machine alone (protected-mode)"),
    ("unknown command", "lacks a command ({text}): want Redis 6.2 or Valkey, or newer"),
)
_LONGEST = 120
_WITHIN = re.compile(r".*@user_script: ?\d+: ", re.DOTALL)


def explain(kind: str, text: str) -> str:
    """Return what is wrong, to be said behind "the store of the cluster"."""
    # Where it was refused in a script, which Redis 6.2 tells first, and later ones last; Valkey has
    # the word before the reason, too.
    reason, _, where = _WITHIN.sub("", text).rpartition(" script: ")
    told = " ".join((reason or where).split())[:_LONGEST]
    found = f"{_BY_KIND.get(kind, '')} {told}"
    for word, reason in _REASONS:
        if word in found:
            return reason.format(text=told)
    return f"refuses: {told}"


def explain_connecting(error: BaseException) -> str:
    """Return why no connection came about."""
    causes = list(_causes(error))
    for cause in causes:
        message = getattr(cause, "verify_message", None)
        if message:
            return f"has a certificate that isn't trusted ({message}): see cluster.ca_file"
    for cause in causes:
        reason = getattr(cause, "reason", None)
        if type(cause).__name__.startswith("SSL") and isinstance(reason, str):
            if reason == "WRONG_VERSION_NUMBER":
                return "speaks no TLS at that port: want redis:// or its TLS port in cluster.store"
            return f"ends the TLS handshake ({reason.lower().replace('_', ' ')})"
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return f"can't be reached: {cause.strerror.rpartition(': ')[2]}"
    return "can't be reached: it doesn't answer"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the last first; groups' members, too."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    if cause is not None:
        yield from _causes(cause)
    yield error
