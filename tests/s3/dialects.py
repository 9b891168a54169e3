"""How S3 servers differ, by the vendor's name: what tests/s3/objects_server.py speaks.

A row says in which answers a server differs from what AWS documents, and `source` names the public
page that says so. In all else a row is the default, not a likeness of that server. Where a page
says only that a call is missing, it is refused as AWS refuses what it doesn't know (501).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote, quote_plus

Refusal: TypeAlias = tuple[int, bytes]
"""A status and the body of the error."""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()


NOT_IMPLEMENTED: Refusal = (501, _error("NotImplemented"))
_NOT_ALLOWED: Refusal = (405, _error("MethodNotAllowed"))
_NO_CHECKSUMS: Refusal = (
    200,
    b"<GetObjectAttributesResponse><StorageClass>STANDARD</StorageClass>"
    b"</GetObjectAttributesResponse>",
)
"""What is told of an object that was uploaded without checksums."""
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(frozen=True)
class Dialect:
    """A server's answers; the defaults are what AWS documents."""

    name: str
    source: str = ""
    """The page that the row goes by."""
    torrent: Refusal | Literal["right", "lies", "object"] | None = None
    """What ?torrent answers: a torrent, one whose first piece alone is right, the object itself, or
    an error. None is not known: it is refused."""
    attributes: Refusal | Literal["parts", "object"] | None = None
    """What ?attributes answers: the parts with their SHA-1, the object itself, or an error. None is
    not known, too."""
    parts: Literal["right", "own ETag", "whole"] = "whole"
    """What HEAD of a part answers: the part, the part under an ETag of its own, or the object."""
    v2: bool = True
    """Whether it lists by ListObjectsV2; else `list-type` is passed over, or refused."""
    refuses_v2: Refusal | None = None
    next_marker: bool = False
    """Whether V1 names the next marker without a delimiter."""
    keys: Literal["plus", "percent", "plain", "twice", "claimed"] = "plus"
    """How a listing writes keys: encoded (a blank as + or %20), not encoded and not called so,
    encoded twice, or not encoded though called so."""
    quotes: bool = True
    """Whether ETags in a listing have their quotes."""
    listed_etags: bool = True
    """Whether a listing has ETags."""
    namespace: str = _NAMESPACE
    etag: Literal["strong", "weak", "bare", "none"] = "strong"
    """How the ETag of an object is written: quoted, with W/ before it, without quotes, or not."""
    if_match: bool = True
    """Whether If-Match is looked at."""
    head_length: str | None = "right"
    """Content-Length in the answer to a HEAD: right, missing, or this text."""
    ranges: bool = True
    """Whether ranges are answered with 206; else with the whole object."""
    packs: bool = False
    """Whether objects are kept packed by gzip, and GETs unpack them, whatever their range."""
    chunked: bool = False
    """Whether bodies come chunked, without a Content-Length."""
    pages: bool = False
    """Whether errors are pages of HTML, as of a proxy."""
    unfit: str = ""
    """What is said of objects that can't be published from such a server; "" if they can."""


def encode_key(dialect: Dialect, key: str) -> str:
    """Return a key as a listing writes it."""
    match dialect.keys:
        case "plus":
            return quote_plus(key, safe="/")
        case "percent":
            return quote(key)
        case "twice":
            return quote(quote(key))
        case "plain" | "claimed":
            return key


DIALECTS = (
    Dialect(
        "AWS S3",
        "docs.aws.amazon.com/AmazonS3: GetObjectTorrent, GetObjectAttributes",
        torrent=_NOT_ALLOWED,
        attributes="parts",
        parts="right",
    ),
    Dialect("AWS S3, uploaded without checksums", torrent=_NOT_ALLOWED, attributes=_NO_CHECKSUMS),
    Dialect(
        "AWS S3 of old",
        "docs.aws.amazon.com/AmazonS3: GetObjectTorrent",
        torrent="right",
        attributes=_NO_CHECKSUMS,
    ),
    Dialect("Ceph RGW 16", "tests/e2e", attributes="object", torrent="lies"),
    Dialect(
        "Ceph RGW 20",
        "github.com/ceph/ceph/pull/55259",
        attributes="parts",
        parts="right",
        torrent=(404, _error("NoSuchKey")),
    ),
    Dialect(
        "OpenStack Swift s3api",
        "docs.openstack.org/swift: s3_compat",
        torrent=NOT_IMPLEMENTED,
        attributes=NOT_IMPLEMENTED,
    ),
    Dialect("moto 5", "tests/e2e", torrent="object", attributes=NOT_IMPLEMENTED),
    Dialect("LocalStack", "tests/e2e", attributes="parts", parts="right", torrent=NOT_IMPLEMENTED),
    Dialect(
        "MinIO",
        "github.com/minio/minio: api-router.go",
        attributes="parts",
        parts="right",
        torrent=NOT_IMPLEMENTED,
    ),
    Dialect(
        "MinIO before 2024",
        "github.com/minio/minio/issues/14884",
        attributes="object",
        torrent=NOT_IMPLEMENTED,
    ),
    Dialect(
        "SeaweedFS before December 2025",
        "github.com/seaweedfs/seaweedfs/pull/7622",
        parts="own ETag",
    ),
    Dialect("SeaweedFS", "github.com/seaweedfs/seaweedfs/issues/11162", parts="whole"),
    Dialect(
        "Garage",
        "garagehq.deuxfleurs.fr: S3 Compatibility status",
        torrent=NOT_IMPLEMENTED,
        attributes=NOT_IMPLEMENTED,
    ),
    Dialect(
        "Cloudflare R2, HEAD without a length",
        "github.com/async-aws/aws/issues/2077",
        head_length=None,
    ),
    Dialect(
        "Backblaze B2",
        "backblaze.com/docs: Call the S3-Compatible API",
        torrent=NOT_IMPLEMENTED,
        attributes=NOT_IMPLEMENTED,
    ),
    Dialect(
        "Google Cloud Storage (XML)",
        "github.com/fluxcd/source-controller/pull/240",
        v2=False,
        next_marker=True,
    ),
    Dialect(
        "Google Cloud Storage, objects packed by gzip",
        "cloud.google.com/storage/docs/transcoding",
        v2=False,
        next_marker=True,
        packs=True,
        unfit="packs or unpacks objects on the way",
    ),
    Dialect("Wasabi", "docs.wasabi.com: Wasabi S3 API Reference"),
    Dialect("S3Proxy before Azure", "github.com/gaul/s3proxy/issues/724"),
    Dialect(
        "S3Proxy before 2019",
        "github.com/gaul/s3proxy/issues/168",
        v2=False,
        refuses_v2=NOT_IMPLEMENTED,
    ),
    Dialect("S3Proxy before Backblaze B2", "github.com/s3tools/s3cmd/pull/755", listed_etags=False),
    Dialect(
        "Hetzner Object Storage",
        "docs.hetzner.com: List of supported actions",
        torrent=NOT_IMPLEMENTED,
        attributes=NOT_IMPLEMENTED,
    ),
    Dialect("DigitalOcean Spaces", "docs.digitalocean.com/reference/api/spaces-api"),
    Dialect(
        "Oracle OCI",
        "docs.oracle.com: Amazon S3 Compatibility API Support",
        v2=False,
        refuses_v2=NOT_IMPLEMENTED,
    ),
    Dialect("Scaleway", "scaleway.com/en/docs: object operations", etag="bare"),
    Dialect("OpenIO", "docs.openio.io: S3 compliance", torrent="right"),
    Dialect(
        "Riak CS",
        "garagehq.deuxfleurs.fr: S3 Compatibility status",
        v2=False,
        refuses_v2=NOT_IMPLEMENTED,
    ),
    Dialect("s3rver", "github.com/jamhall/s3rver", if_match=False, torrent=NOT_IMPLEMENTED),
    Dialect("RustFS", "github.com/rustfs/rustfs", torrent=(404, _error("NoSuchKey"))),
    Dialect(
        "VersityGW before encoding-type",
        "github.com/versity/versitygw/issues/813",
        keys="plain",
        namespace="",
    ),
    Dialect(
        "Apache Ozone before ETags",
        "github.com/apache/ozone/pull/5162",
        etag="none",
        unfit="without an ETag",
    ),
    Dialect(
        "a server that passes over list-type", "github.com/apache/opendal/issues/5974", v2=False
    ),
    Dialect("a server that names markers", v2=False, next_marker=True, keys="percent"),
    *(
        Dialect(
            f"a server that refuses list-type ({status})",
            v2=False,
            refuses_v2=(status, _error(code)),
        )
        for status, code in (
            (400, "InvalidArgument"),
            (403, "AccessDenied"),
            (404, "NoSuchKey"),
            (405, "MethodNotAllowed"),
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
        )
    ),
    Dialect("a server whose listed ETags lack quotes", quotes=False),
    Dialect(
        "a server without ranges",
        "github.com/rclone/rclone: serve s3",
        ranges=False,
        unfit="does not serve ranges",
    ),
    Dialect(
        "a CDN: Fastly",
        "github.com/rust-lang/simpleinfra/pull/1130",
        head_length=None,
        chunked=True,
    ),
    Dialect("a proxy that weakens ETags", "github.com/commontoolsinc/labs/pull/1751", etag="weak"),
    Dialect("a proxy that says length 0", head_length="0"),
    Dialect("a proxy that says length -1", head_length="-1"),
    Dialect("a proxy with error pages of its own", "nginx.org: error_page", pages=True),
)
