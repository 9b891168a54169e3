"""Every error that the parts raise, and whose fault each one is.

SeederError                  whatever we raise on purpose; str() is one line for the operator
├── ConfigError              the operator's: every mistake of a file, exit code 2
│   └── Unavailable          the machine's: what the file names can't be had now, exit code 1
├── BencodeError             the sender's: bytes that are not the bencode that BEP 3 describes
├── MetainfoError            the publisher's: a torrent that is malformed or doesn't fit the object
├── OriginError              the origin's, or the way to it; the keeper of the object tries again
│   ├── OriginUnreachable    no answer after every retry
│   ├── AccessDenied         401 or 403: credentials, policy, requester pays, expected owner, SSE-C
│   │   └── SignerRefused    whoever signs, whatever is asked for: unknown key, signature, clock
│   ├── ObjectMissing        404: no such bucket, key or version
│   ├── ObjectChanged        412: the object is no longer the one that the torrent describes
│   ├── Unsupported          this S3 lacks an optional call; other sources of metainfo may work
│   │   ├── TorrentUnsupported      GetObjectTorrent
│   │   └── AttributesUnsupported   GetObjectAttributes, or HEAD of a part
│   └── OriginFault          an answer that is wrong: a bad status, a short body, a wrong range
│       ├── HeadRefused      HEAD alone is answered so: a GET may tell what it doesn't
│       └── PieceMismatch    a piece that was read twice, and failed its hash both times
├── TooManyObjects           the operator's limit: a prefix has more objects than `max_objects`
├── EntryConflict            who adds or changes an entry: another one, or the file's, is in the way
├── BudgetSpent              the operator's wish: S3 isn't asked until there is budget again
├── AnnounceError            an announcing client's; the text goes to that client
├── DownloadRefused          ours or the origin's: a download over HTTP that can't begin or go on
├── FetchFailed              a stranger's server, or the way to it, which a command asked over HTTP
├── ControlFailed            the running daemon's, or the way to it: it didn't do what it was told
│   ├── ControlRefused       it answered that it doesn't: as HTTP's status says
│   └── ControlSilent        it took the request, and gave no answer in time
├── WireError                a peer's: ends that peer's session, counted by `reason`
├── StoreAway                the cluster's store, or the way to it: a node goes on by itself
└── StorageError             the local disk's: unwritable, full, unreadable
    ├── StateUnusable        the state directory: another seeder uses it, or the disk refuses it
    ├── LedgerDamaged        the ledger's file: what it holds is not what was written
    └── LedgerRefused        the ledger's file: a newer seeder's, or another program's

No I/O.
"""

from collections.abc import Sequence


class SeederError(Exception):
    """Base of every error that is raised on purpose; its text is one line that says what to do."""


class ConfigError(SeederError):
    """A configuration that can't be used; `problems` lists every mistake in one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Unavailable(ConfigError):
    """What a configuration names can't be had: a port, an address, the file of a secret.

    The configuration may be right, and the next start find all of it.
    """


class EntryConflict(SeederError):
    """An entry can't be added or changed at run time as it stands: another one is in the way."""


class BencodeError(SeederError):
    """Bytes that are not valid bencode (BEP 3)."""


class MetainfoError(SeederError):
    """A torrent that is malformed, unsafe, or describes another object."""


class OriginError(SeederError):
    """S3 could not give what was asked of it."""


class OriginUnreachable(OriginError):
    """S3 gave no answer, or only 5xx, until the retries ran out."""

    def __init__(self, text: str, *, away: bool = False) -> None:
        super().__init__(text)
        self.away = away
        """Whether the log has a line already that says so of the whole origin."""


class AccessDenied(OriginError):
    """S3 refused (401, 403); trying again without a change is useless."""


class SignerRefused(AccessDenied):
    """S3 refuses the credentials or the clock, hence every request."""


class ObjectMissing(OriginError):
    """The bucket, the key or the version is not there (404)."""


class BucketMissing(ObjectMissing):
    """There is no such bucket, so none of its objects either."""


class ObjectChanged(OriginError):
    """The pinned object was replaced (412, or another ETag), or is shorter than it was (416)."""

    def __init__(self, text: str, *, out_of_range: bool = False) -> None:
        super().__init__(text)
        self.out_of_range = out_of_range
        """Whether it ends before the range that was asked for."""


class Unsupported(OriginError):
    """This S3 doesn't answer a call that not every S3 has; other sources of metainfo may work."""

    def __init__(self, text: str, *, for_every_key: bool = False) -> None:
        super().__init__(text)
        self.for_every_key = for_every_key
        """Whether the answer means that this S3 has no such call at all."""


class TorrentUnsupported(Unsupported):
    """This S3 makes no torrent of this object."""


class AttributesUnsupported(Unsupported):
    """This S3 tells nothing of the parts of this object."""


class OriginFault(OriginError):
    """S3 answered, but the answer is wrong: unexpected status, wrong range."""


class HeadRefused(OriginFault):
    """S3 refuses a HEAD, though it answers a GET of the same, or answers it as no HEAD."""


class PieceMismatch(OriginFault):
    """The bytes of a piece, read twice, don't have the hash that the torrent says.

    `index` is the piece's, `digest` the SHA-1 that it had the second time, and `steady` tells
    whether it was the same the first time.
    """

    def __init__(self, text: str, *, index: int, digest: bytes, steady: bool) -> None:
        super().__init__(text)
        self.index = index
        self.digest = digest
        self.steady = steady


class TooManyObjects(SeederError):
    """A prefix has more objects than the operator allows; none of them is published."""


class BudgetSpent(SeederError):
    """A limit of [budget] is reached: S3 was not asked, and will be when its period is over."""


class AnnounceError(SeederError):
    """An announce or scrape that is refused; the text is the client's `failure reason`."""

    def __init__(self, reason: str, *, retry_in: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_in = retry_in
        """BEP 31: minutes as a decimal string, or "never"; None leaves the key out."""


class DownloadRefused(SeederError):
    """A download over HTTP that can't begin or go on; the text is for its client."""

    def __init__(self, reason: str, *, busy: bool = True, retry_in: float | None = None) -> None:
        super().__init__(reason)
        self.retry_in = retry_in
        """Seconds after which it is worth coming back, if that is known."""
        self.busy = busy
        """Whether we are at a limit of our own; False if the object can't be read."""


class FetchFailed(SeederError):
    """A server that a command asked over HTTP gave no answer that can be used."""


class ControlFailed(SeederError):
    """A command got no answer of a running daemon, or none that its API gives."""


class ControlSilent(ControlFailed):
    """A running daemon gave no answer in time; it may do what was asked for all the same."""


class ControlRefused(ControlFailed):
    """A running daemon answered that it doesn't do what a command asked for."""

    def __init__(self, text: str, status: int, problems: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.status = status
        """HTTP's."""
        self.problems = tuple(problems)
        """Every mistake, where there are several; else none."""


class WireError(SeederError):
    """A peer broke the protocol; `reason` is the slug that its close is counted under."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class StoreAway(SeederError):
    """The Redis that a cluster shares gave no answer, or refused; `reason` is half a line."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store of the cluster {reason}")
        self.reason = reason


class StorageError(SeederError):
    """A local file or directory can't be used."""


class StateUnusable(StorageError):
    """The state directory can't be used: another seeder has it, or the disk refuses."""


class LedgerDamaged(StorageError):
    """The ledger's file isn't SQLite's, or isn't whole."""


class LedgerRefused(StorageError):
    """The ledger's file is in order, and not for us: a newer seeder's, or another program's."""
