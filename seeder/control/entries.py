"""What the resources of objects and prefixes have in common: names, bodies, refusals."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Literal
from urllib.parse import quote, urlencode

from pydantic import ConfigDict
from pydantic.config import JsonDict

from seeder.config.added import EntryName
from seeder.config.objects import ObjectSettings
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.control.operations import API_ROOT, OpenObject, Problem, QueryObject
from seeder.control.values import ListLimit
from seeder.errors import ConfigError, EntryConflict, StorageError
from seeder.publish.additions import Additions
from seeder.torrent.objects import ObjectRef
from seeder.torrent.order import NameKey

DEFAULT_LIMIT = 100
"""Rows of a page."""
NOT_HERE: Mapping[int, str] = {HTTPStatus.NOT_FOUND: "Nothing of that name is published."}
IN_THE_WAY: Mapping[int, str] = {
    HTTPStatus.CONFLICT: "The entry is the configuration's, or another one is in the way."
}
_TEXT: JsonDict = {"type": "string"}
_FLAG: JsonDict = {"type": "boolean"}
_SHAPES: JsonDict = {
    "origin": _TEXT,
    "version_id": _TEXT,
    "metainfo": {"type": "array", "items": {"enum": ["origin", "sidecar", "checksums", "build"]}},
    "torrent_file": {"type": "string", "description": "An absolute path on the node."},
    "piece_length": {"type": "string", "examples": ["4 MiB"]},
    "private": _FLAG,
    "public": _FLAG,
    "format": {"enum": ["v1", "hybrid"]},
    "verify": {"enum": ["sample", "all"]},
    "refresh": {"type": "string", "examples": ["10m"]},
    "publish_at": {"type": "string", "format": "date-time"},
    "warm": _FLAG,
    "write_sidecar": _FLAG,
}
"""The keys of an entry that say how it is published."""


class ObjectToAdd(OpenObject):
    """An entry of [[objects]] with a key, spelled as in the file; a date is a text."""

    model_config = ConfigDict(
        json_schema_extra={
            "properties": {"bucket": _TEXT, "key": _TEXT, **_SHAPES},
            "required": ["bucket", "key"],
        }
    )


class PrefixToAdd(OpenObject):
    """An entry of [[objects]] with a prefix, spelled as in the file; a date is a text."""

    model_config = ConfigDict(
        json_schema_extra={
            "properties": {
                "bucket": _TEXT,
                "prefix": _TEXT,
                "bundle": _FLAG,
                "max_objects": {"type": "integer"},
                **_SHAPES,
            },
            "required": ["bucket", "prefix"],
        }
    )


class EntryPatch(OpenObject):
    """Keys of an entry with their new values; null is the default (RFC 7396)."""


class NameQuery(QueryObject):
    """Which of those that have one name."""

    origin: str = DEFAULT_ORIGIN
    """The origin's name."""
    version_id: str | None = None
    """The version, where an entry names one."""


class PageQuery(QueryObject):
    """Which part of a list."""

    prefix: str = ""
    """BUCKET/PREFIX: those below it alone."""
    limit: ListLimit = DEFAULT_LIMIT
    """The most that come at once."""
    after: str | None = None
    """`next` of the page before."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what speaks against an entry into a Problem."""
    try:
        yield
    except ConfigError as error:
        problems = tuple(error.problems)
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, problems[0], problems) from error
    except EntryConflict as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    except StorageError as error:
        why = f"{error}; nothing was changed"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, why) from error


def written(body: OpenObject, wanted: Literal["key", "prefix"]) -> dict[str, object]:
    """Return the entry in a body, which has the key `wanted` and not the other one; Problem."""
    other = "key" if wanted == "prefix" else "prefix"
    known = ObjectSettings.model_fields
    given = (body.model_extra or {}).items()
    entry = {key: value for key, value in given if value is not None or key not in known}
    if wanted not in entry or other in entry:
        where = f"{API_ROOT}/objects" if other == "key" else f"{API_ROOT}/prefixes"
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"objects[0].{wanted}: want a {wanted} here; one with a {other} goes to {where}",
        )
    return entry


def location(kind: str, ref: ObjectRef, *, bundle: bool = False) -> str:
    """Return the path of what was made; `kind` is "objects" or "prefixes"."""
    query = {} if ref.origin == DEFAULT_ORIGIN else {"origin": ref.origin}
    if ref.version_id is not None:
        query["version_id"] = ref.version_id
    if bundle:
        query["bundle"] = "true"
    path = f"{API_ROOT}/{kind}/{quote(ref.bucket, safe='')}/{_encoded(ref.key)}"
    return f"{path}?{urlencode(query)}" if query else path


def _encoded(key: str) -> str:
    """Return a key as the end of a path, of which no client takes steps away (RFC 3986, 5.2.4)."""
    if not {".", ".."}.intersection(key.split("/")):
        return quote(key)
    return quote(key, safe="").replace(".", "%2E")


def check_own(additions: Additions, name: EntryName, owner: ObjectRef | None) -> None:
    """Problem 404 or 409 unless an entry was added; `owner` is the prefix that has it else."""
    if additions.find(name) is not None:
        return
    if additions.source_of(name) == "file":
        why = f"{name.ref}: is in {additions.configured_in}; change it there, and reload"
        raise Problem(HTTPStatus.CONFLICT, why)
    if owner is not None:
        why = f"{name.ref}: is published by the prefix {owner}; change that one"
        raise Problem(HTTPStatus.CONFLICT, why)
    raise missing(name.ref)


def missing(ref: ObjectRef) -> Problem:
    """Return the refusal of what isn't there."""
    return Problem(HTTPStatus.NOT_FOUND, f"{ref}: nothing of that name is published")


def cursor(name: NameKey) -> str:
    """Return a place in a list as `next` tells it."""
    return base64.urlsafe_b64encode(json.dumps(name).encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> NameKey | None:
    """Return a place that `cursor` wrote; Problem 400."""
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        origin, bucket, key, version = found
        if not all(isinstance(each, str) for each in found):
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error):
        why = "after: want the `next` of the page before"
        raise Problem(HTTPStatus.BAD_REQUEST, why) from None
    return origin, bucket, key, version
