"""A call to S3 as a value: what is asked, on whose account, and how a success is read."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from seeder.errors import OriginError
from seeder.s3.operations import Operation
from seeder.s3.signing import Query
from seeder.s3.transport import Exchange
from seeder.torrent.objects import Meter, ObjectRef, Purpose

_T = TypeVar("_T")


class Allowance(Protocol):
    """What may be spent on requests; `size` is the most bytes of body that one brings."""

    def check(self, size: int) -> None:
        """Raise BudgetSpent if a request may not be sent now."""

    def admit(self, meter: Meter, size: int) -> AbstractContextManager[Meter]:
        """Admit a request for the length of the block, or raise BudgetSpent.

        The block gets the meter to count it on, which passes everything on to `meter`.
        """


@dataclass(frozen=True)
class Call(Generic[_T]):
    """What is asked of S3, on whose account, and how a success is read."""

    method: str
    ref: ObjectRef
    meter: Meter
    purpose: Purpose
    take: Callable[[Exchange], Awaitable[_T]]
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    """The most bytes of body that are expected."""
    resumes: bool = False
    """Whether an attempt goes on where the one before it ended."""
    patient: bool = False
    """Whether it waits for the policy's `patience` while S3 is away, since somebody waits for it,
    or much would have to be asked again. Others end soon, so that it shows what is wrong."""
    dispensable: bool = False
    """Whether we can do without its answer, though every S3 knows the call."""
    torrent: bool = False
    about: Query = ()
    """The query that asks for the object's attributes or for one of its parts."""
    listing: Query | None = None
    """The query that lists the bucket; then `ref` is only there for texts and booking."""
    body: bytes | None = None
    """What is put in the object's place."""
    normal: tuple[type[OriginError], ...] = ()
    """Errors that aren't shown as the origin's last one."""

    @property
    def optional(self) -> bool:
        """Whether we can do without its answer: it is tried less often, and says nothing of S3."""
        return self.dispensable or self.torrent or bool(self.about)

    @property
    def operation(self) -> Operation:
        """S3's name for it."""
        if self.listing is not None:
            return "ListObjects"
        if self.torrent:
            return "GetObjectTorrent"
        if self.body is not None:
            return "PutObject"
        if self.method == "HEAD":
            return "HeadObject"
        return "GetObjectAttributes" if self.about else "GetObject"

    @property
    def key(self) -> str:
        return self.ref.key if self.listing is None else ""

    @property
    def query(self) -> Query:
        if self.listing is not None:
            return self.listing
        about = (("torrent", None),) if self.torrent else tuple(self.about)
        version = self.ref.version_id
        return about if version is None else (*about, ("versionId", version))
