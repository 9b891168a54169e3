"""Who writes torrents back to S3: by what we know our own again, and leave everybody else's.

A file has a mark for each of the signs by which its writer may be known later on: what the
configuration calls it, or else what lies in the state directory, which moves with it, and the
host's name, which outlasts the state.
"""

import errno
import hashlib
import secrets
import socket
import time
from dataclasses import dataclass
from math import inf
from pathlib import Path

from seeder.config.sections import Config
from seeder.files import (
    NotAFile,
    read_file,
    replace_file,
    set_aside,
    storage_errors,
)
from seeder.plain_json import dump_json, parse_json
from seeder.s3.small_objects import SmallObject
from seeder.torrent.objects import ObjectRef
from seeder.units import MINUTE

WRITER = "writer.json"
"""Below the state directory."""
_CLOCKS_DIFFER = 5 * MINUTE
"""Seconds by which S3's clock may be ahead of ours."""
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Writer:
    """Who puts torrents beside objects."""

    signs: tuple[str, ...]
    """By which its files can be known, whichever of them is lost."""
    former: tuple[str, ...] = ()
    """By which files can be known that it wrote under other circumstances."""
    place: str | None = None
    """One of both that others may have, too: a host's name and a directory."""
    since: float = inf
    """When its state directory began (Unix s): what has `place` alone was written before that, or
    else by somebody else."""

    def mark(self, ref: ObjectRef, body: bytes) -> str:
        """Return the marks of a file that it writes."""
        return " ".join(_mark(sign, ref, body) for sign in self.signs)

    def wrote(self, ref: ObjectRef, there: SmallObject) -> bool:
        """Tell whether what is there is as it was written there by this one."""
        marks = () if there.mark is None else there.mark.split()
        found = {
            sign for sign in (*self.signs, *self.former) if _mark(sign, ref, there.body) in marks
        }
        if found == {self.place}:
            return there.modified is None or there.modified <= self.since + _CLOCKS_DIFFER
        return bool(found)


def writer_of(config: Config) -> Writer:
    """Return who writes torrents beside objects, of all that may do so. It blocks; StorageError."""
    place = f"node {socket.gethostname()} {config.state_directory}"
    name, since = _state(config.state_directory / WRITER)
    own = (f"state {name}", place)
    cluster = config.cluster
    shared = f"cluster {cluster.prefix} {cluster.store}"
    if config.sidecar_writer is not None:
        former = own if cluster.store is None else (shared, *own)
        return Writer((f"named {config.sidecar_writer}",), former, place, since)
    if cluster.store is not None:
        return Writer((shared,), own, place, since)
    return Writer(own, (), place, since)


def _state(path: Path) -> tuple[str, float]:
    """Return what nobody else's state directory has, made if need be, and since when."""
    with storage_errors(path, "read or written"):
        try:
            data = read_file(path, _LARGEST)
            if data is not None:
                found = parse_json(data)
                return str(found["writer"]), float(found["since"])
        except NotAFile:
            pass  # it is set aside by who writes
        except (KeyError, TypeError, ValueError):
            set_aside(path, "it is damaged, and made anew")
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            set_aside(path, "it is too large, and made anew")
        name, since = secrets.token_hex(16), int(time.time())
        made = dump_json({"writer": name, "since": since})
        replace_file(path, made, durable=True, mode=0o600)
    return name, since


def _mark(sign: str, ref: ObjectRef, body: bytes) -> str:
    """Return the mark of a file that somebody writes: nobody else's, nor of another file."""
    told = (b"sidecar", sign.encode(), ref.bucket.encode(), ref.key.encode(), body)
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in told)).hexdigest()
