"""Names of objects as people write them, and as the paths of the API have them. No I/O."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

_SCHEME = "s3://"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or a prefix and what is below it."""

    bucket: str
    key: str
    """Of a prefix, what the keys begin with; "" is the whole bucket."""
    is_prefix: bool = False
    origin: str | None = None
    version_id: str | None = None
    is_bundle: bool = False
    """Whether the bundle is meant, where the objects below the prefix are published as well."""

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"

    def path(self, action: str = "") -> str:
        """Return where it is below /api/v1, and what is to be done with it."""
        kind = "prefixes" if self.is_prefix else "objects"
        verb = f":{action}" if action else ""
        given = {"origin": self.origin, "version_id": self.version_id}
        wanted = {name: value for name, value in given.items() if value is not None}
        query = urlencode(wanted | ({"bundle": "true"} if self.is_bundle else {}))
        name = f"{quote(self.bucket, safe='')}/{_quoted(self.key)}"
        return f"/{kind}/{name}{verb}{'?' if query else ''}{query}"

    def entry(self) -> dict[str, object]:
        """Return the keys of its entry in [[objects]] that name it."""
        found: dict[str, object] = {"bucket": self.bucket}
        found["prefix" if self.is_prefix else "key"] = self.key
        if self.origin is not None:
            found["origin"] = self.origin
        if self.version_id is not None:
            found["version_id"] = self.version_id
        if self.is_bundle:
            found["bundle"] = True
        return found


def parse_target(
    text: str,
    *,
    is_prefix: bool = False,
    origin: str | None = None,
    version_id: str | None = None,
    is_bundle: bool = False,
) -> Target:
    """Return what BUCKET/KEY or s3://BUCKET/KEY names; ValueError says what is wanted.

    Of a prefix the bucket alone is enough.
    """
    is_prefix |= is_bundle
    name = text.removeprefix(_SCHEME)
    bucket, _, key = name.partition("/")
    wanted = "want BUCKET/PREFIX" if is_prefix else "want BUCKET/KEY"
    if _URL.match(name):
        raise ValueError(f"this is a URL; {wanted} or s3://{wanted.removeprefix('want ')}")
    if not bucket or (not key and not is_prefix):
        raise ValueError(wanted)
    return Target(bucket, key, is_prefix, origin, version_id, is_bundle)


def _quoted(key: str) -> str:
    """Return a key as a part of a path: slashes stay, and no step is one that leads elsewhere."""
    steps = key.split("/")
    return "/".join(
        step.replace(".", "%2E") if step in (".", "..") else quote(step, safe="") for step in steps
    )
