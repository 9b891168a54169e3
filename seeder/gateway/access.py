"""Who may read an object: anybody if it is public, else whoever signs with a key that may. No I/O.

All that is served of an object at /BUCKET/KEY asks here first.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from seeder.gateway.s3errors import S3Error
from seeder.gateway.sigv4 import SignedRequest, verify
from seeder.http.messages import Request, decoded_query

_OWNER = b"x-amz-expected-bucket-owner"
_PAYER = b"x-amz-request-payer"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an object is given."""

    public: bool
    owner: str | None
    """The account that the bucket is known to belong to."""
    requester_pays: bool
    """The origin charges whoever reads it, which is us."""


@dataclass(frozen=True, slots=True)
class ReadKey:
    """An access key and the objects that it may read beside the public ones."""

    access_key_id: str
    secret: str = field(repr=False)
    objects: tuple[str, ...]
    """BUCKET/KEY each, with `*` for any characters."""

    def may_read(self, bucket: str, key: str) -> bool:
        """Tell whether one of the patterns covers an object."""
        name = f"{bucket}/{key}"
        return any(_pattern(text).fullmatch(name) for text in self.objects)


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern as an expression; `re` keeps the last few hundred compiled."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


class Keyring:
    """The access keys of the configuration; a reload replaces them."""

    def __init__(self, keys: Sequence[ReadKey] = ()) -> None:
        self.replace(keys)

    def replace(self, keys: Sequence[ReadKey]) -> None:
        """Know these keys and no others from now on."""
        self._keys = {key.access_key_id: key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, access_key_id: str) -> ReadKey | None:
        """Return a key by its id."""
        return self._keys.get(access_key_id)

    def secret_of(self, access_key_id: str) -> str | None:
        """Return the secret of a key."""
        found = self._keys.get(access_key_id)
        return found.secret if found else None


class TermsLookup(Protocol):
    """Who knows the objects; the daemon's catalog."""

    def terms(self, bucket: str, key: str) -> Terms:
        """Return the terms of an object; S3Error NoSuchBucket, NoSuchKey."""
        ...


class Authorisation:
    """Decides whether a request may have an object; `clock` is Unix time in seconds."""

    def __init__(self, lookup: TermsLookup, keys: Keyring, clock: Callable[[], float]) -> None:
        self._lookup = lookup
        self._keys = keys
        self._clock = clock

    def authorise(self, request: Request, bucket: str, key: str) -> Terms:
        """Return the terms of an object that the request may have; else S3Error."""
        reader = self._reader(request)
        terms = self._lookup.terms(bucket, key)
        if not terms.public and (reader is None or not reader.may_read(bucket, key)):
            raise S3Error("AccessDenied", "Access Denied")
        if any(owner != terms.owner for owner in _said(request, _OWNER)):
            raise S3Error("AccessDenied", "The bucket is not known to belong to that account.")
        return terms

    def _reader(self, request: Request) -> ReadKey | None:
        """Return the key that a request is signed with; None for an anonymous one; S3Error.

        Where there are no keys there is nothing to hold a signature against: it is not looked at.
        """
        if not self._keys:
            return None
        signed = SignedRequest(request.method, request.path, request.query, request.headers)
        signer = verify(signed, self._keys.secret_of, now=self._clock())
        return self._keys.find(signer) if signer is not None else None


def is_charged(request: Request, terms: Terms) -> bool:
    """Tell whether to confirm a charge: the client agrees to one, and the origin makes it."""
    return terms.requester_pays and "requester" in _said(request, _PAYER)


def _said(request: Request, name: bytes) -> list[str]:
    """Return the values of a header, or of the parameter that a presigned URL has instead."""
    query = [value for other, value in decoded_query(request.query) if other.lower() == name]
    values = [value.strip() for value in request.all_headers(name)] + query
    return [value.decode("latin-1") for value in values]
