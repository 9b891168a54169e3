"""Which object a request names: path style (/BUCKET/KEY) or virtual-host style. No I/O."""

from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_to_bytes

from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request

ADDRESS = "the address is /BUCKET/KEY?torrent"
_LONGEST_BUCKET = 255
"""Characters; once there were buckets with so many in us-east-1."""


class Naming:
    """Reads bucket and key from requests; below each of `domains`, buckets are hosts."""

    def __init__(self, domains: Sequence[str] = ()) -> None:
        # The most specific first, should one domain lie below another.
        lowered = sorted({domain.lower() for domain in domains}, key=len, reverse=True)
        self._domains = tuple(domain.encode() for domain in lowered)

    def bucket_of_host(self, request: Request) -> str | None:
        """Return the bucket that the Host header names; None where the path has to."""
        if not self._domains:
            return None
        host = _host_of(request)
        for domain in self._domains:
            if host == domain:
                return None
            if host.endswith(b"." + domain):
                return host.removesuffix(b"." + domain).decode("latin-1")
        return None

    def misplaced_bucket(self, request: Request, is_bucket: Callable[[str], bool]) -> str | None:
        """Return what to tell a client that names a bucket by a host below none of `domains`.

        `is_bucket` tells whether there is a bucket of a name. None where the host names none.
        """
        host = _host_of(request).decode("latin-1")
        for at, letter in enumerate(host[:_LONGEST_BUCKET]):
            if letter == "." and is_bucket(host[:at]) and self.bucket_of_host(request) is None:
                return (
                    f"The host names the bucket {host[:at]}, which takes {host[at + 1 :]} in"
                    " domains of [gateway] here; or have the client name the bucket in the path"
                    " (addressing_style = path)."
                )
        return None

    def bucket_alone(self, request: Request) -> str | None:
        """Return the bucket that a request names without a key; None where it names none. S3Error.

        Where the host names the bucket, that is /.
        """
        host = self.bucket_of_host(request)
        if host is not None:
            return host if request.path == b"/" else None
        name, _, rest = request.path.removeprefix(b"/").partition(b"/")
        return None if rest or not name else _decoded(name)

    def object_of(self, request: Request, *, whole: bool = False) -> tuple[str, str]:
        """Return bucket and key; the key keeps every slash and dot that it has. S3Error.

        With `whole` the bucket alone will do: the key of a bundle of all that is in it is empty.
        """
        path, bucket = request.path.removeprefix(b"/"), self.bucket_of_host(request)
        if bucket is None:
            first, _, path = path.partition(b"/")
            bucket = _decoded(first)
        key = _decoded(path)
        if not bucket or not (key or whole):
            raise S3Error("InvalidURI", ADDRESS)
        return bucket, key

    def target_of(self, request: Request) -> bytes:
        """Return path and query of a request as another host takes it, which names no bucket."""
        bucket = self.bucket_of_host(request)
        path = request.path if bucket is None else f"/{quote(bucket)}".encode() + request.path
        return path + b"?" + request.query if request.query else path


def _host_of(request: Request) -> bytes:
    """Return the Host header without port, in lower case."""
    host = (request.header(b"host") or b"").strip().lower()
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).rstrip(b".")


def _decoded(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "the key is not UTF-8") from None


def object_path(bucket: str, key: str) -> str:
    """Return the path of an object in path style, percent-encoded as S3's clients do it.

    In a key with an empty segment or one of dots, slashes are encoded, too, and if it is but dots,
    these: clients and proxies clean such segments away, and BitTorrent clients append the torrent's
    name to a web seed that ends with a slash (BEP 19).
    """
    return f"/{quote(bucket, safe='~')}/{quoted_key(key)}"


def quoted_key(key: str) -> str:
    """Return the part of an object's path that is its key."""
    if key in (".", ".."):
        return key.replace(".", "%2E")
    fragile = any(segment in ("", ".", "..") for segment in key.split("/"))
    return quote(key, safe="~" if fragile else "/~")
