"""Who may read an object: anybody if it is public, else a client that signs with a key for it.

No I/O.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from seeder.gateway.s3errors import S3Error
from seeder.gateway.sigv4 import SignedRequest, verify
from seeder.http.messages import Request, decoded_query
from seeder.torrent.objects import ObjectRef

_OWNER = b"x-amz-expected-bucket-owner"
_PAYER = b"x-amz-request-payer"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an object is given."""

    public: bool
    owner: str | None
    """The account that the bucket is known to belong to."""
    requester_pays: bool
    """Whether the origin charges its reader, which is us."""


@dataclass(frozen=True, slots=True)
class ReadKey:
    """An access key and the objects that it may read beside the public ones."""

    access_key_id: str
    secret: str = field(repr=False)
    objects: tuple[str, ...]
    """Patterns of BUCKET/KEY, in which `*` stands for any characters."""

    def may_read(self, ref: ObjectRef) -> bool:
        """Tell whether one of the patterns covers an object."""
        name = f"{ref.bucket}/{ref.key}"
        return any(_pattern(text).fullmatch(name) for text in self.objects)


class Keyring:
    """The access keys of the configuration; a reload replaces them."""

    def __init__(self, keys: Sequence[ReadKey] = ()) -> None:
        self.replace(keys)

    def replace(self, keys: Sequence[ReadKey]) -> None:
        """Know these keys and no others from now on."""
        self._keys = {key.access_key_id: key for key in keys}

    def reader_of(self, request: Request, now: float) -> ReadKey | None:
        """Return the key that a request is signed with at `now` (Unix seconds); S3Error.

        None for an anonymous request. Without any keys a signature can't be checked, and is not
        looked at.
        """
        if not self._keys:
            return None
        signed = SignedRequest(request.method, request.path, request.query, request.headers)
        signer = verify(signed, self._secret_of, now=now)
        return self._keys[signer] if signer is not None else None

    def renewed(self, reader: ReadKey) -> ReadKey | None:
        """Return a key that was good as it is now; None if it is gone, or has another secret."""
        found = self._keys.get(reader.access_key_id)
        return found if found is not None and found.secret == reader.secret else None

    def _secret_of(self, access_key_id: str) -> str | None:
        found = self._keys.get(access_key_id)
        return found.secret if found else None


def may_read(reader: ReadKey | None, ref: ObjectRef, *, public: bool) -> bool:
    """Tell whether a request signed by `reader` (None: by nobody) may read an object."""
    return public or (reader is not None and reader.may_read(ref))


def authorise(request: Request, reader: ReadKey | None, ref: ObjectRef, terms: Terms) -> None:
    """Check that a request signed by `reader` may have an object on its terms; S3Error."""
    if not may_read(reader, ref, public=terms.public):
        raise S3Error("AccessDenied", "Access Denied")
    if any(owner != terms.owner for owner in _said(request, _OWNER)):
        raise S3Error("AccessDenied", "The bucket is not known to belong to that account.")


def is_charged(request: Request, terms: Terms) -> bool:
    """Tell whether to confirm a charge: the client agrees to one, and the origin makes it."""
    return terms.requester_pays and "requester" in _said(request, _PAYER)


def _said(request: Request, name: bytes) -> list[str]:
    """Return the values of a header, and of the parameter that a presigned URL has instead."""
    query = [value for other, value in decoded_query(request.query) if other.lower() == name]
    values = [value.strip() for value in request.all_headers(name)] + query
    return [value.decode("latin-1") for value in values]


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern as an expression; `re` keeps the last few hundred compiled."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
