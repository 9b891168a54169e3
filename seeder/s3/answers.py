"""What S3's errors mean, each in one line. No I/O."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    BucketMissing,
    HeadRefused,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SignerRefused,
    TorrentUnsupported,
)
from seeder.http.dates import parse_date
from seeder.s3.clock import is_of_another_time
from seeder.s3.pages import code_in, describe_page, is_page
from seeder.s3.xml import read_xml
from seeder.torrent.objects import ObjectRef

_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 507, 509, *range(520, 531)})
"""Those of RFC 9110, of proxies and hosts that limit, and of Cloudflare's before a server that is
away (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/)."""
_THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
"""Those of S3 and of others that speak its language, whatever the status."""
_TRANSIENT_CODES = _THROTTLING_CODES | {"InternalError", "ServiceUnavailable", "RequestTimeout"}
_EXPIRED_CODES = frozenset({"ExpiredToken", "TokenRefreshRequired", "InvalidToken"})
_REPLACED_CODES = _EXPIRED_CODES | {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
_CLOCK_CODES = frozenset(
    {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "SignatureDoesNotMatch"}
)
"""Of what is signed for another time; the last one may mean that."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_ABOUT_THE_CALL = _REDIRECTS | {401, 403, 412}
_NO_SUCH_METHOD = frozenset({405, 501})
# A HEAD to the wrong region is a 400 without a code.
_WRONG_REGION_CODES = frozenset(
    {"", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest"}
)
_ELEMENTS = frozenset({"Code", "Message", "Region", "Endpoint"})
_LOOSE_ELEMENT = re.compile(rb"<(Code|Message|Region|Endpoint)>([^<]{0,2000})</\1>")
_REGION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AWS_HOST = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")
_DELAY = re.compile(r"\d{1,6}", re.ASCII)
_LONGEST_TEXT = 2000
_LONGEST_MESSAGE = 200
_BY_CODE: dict[str, tuple[type[OriginError], str]] = {
    "RequestTimeTooSkewed": (
        SignerRefused,
        "this machine's clock is off by more than 15 minutes; set it (NTP)",
    ),
    "SignatureDoesNotMatch": (
        SignerRefused,
        "check the secret key; if it is right, something on the way changes requests",
    ),
    "InvalidAccessKeyId": (
        SignerRefused,
        "the access key is not known there; check the credentials and the endpoint",
    ),
    "ExpiredToken": (
        SignerRefused,
        "the session token has expired and no newer one was found; renew the credentials",
    ),
    "InvalidToken": (
        SignerRefused,
        "the session token is not taken there; renew the credentials",
    ),
    "InvalidObjectState": (AccessDenied, "the object is archived; restore it first"),
    "NoSuchBucket": (
        BucketMissing,
        "there is no such bucket; check bucket, endpoint and path_style",
    ),
    "NoSuchKey": (ObjectMissing, "there is no such key in the bucket"),
    "NoSuchVersion": (ObjectMissing, "there is no such version; check version_id"),
    "AuthorizationHeaderMalformed": (AccessDenied, "check region"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about, as far as the text of an error depends on it."""

    name: str
    host: str
    torrent: bool = False
    attributes: bool = False
    sidecar: bool = False
    """Whether it was about a file that needn't be there."""
    listing: bool = False
    writing: bool = False
    version: bool = False
    anonymous: bool = False
    request_payer: bool = False
    bucket_owner: str | None = None
    tls: bool = True
    """Whether it was made over TLS."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An error that S3 answered; `code` and `message` are empty when it came without a body."""

    status: int
    code: str = ""
    message: str = ""
    region: str | None = None
    """Where the bucket is, if the answer says so."""
    host: str | None = None
    """Where a redirect leads."""
    to_tls: bool = False
    """Whether that is an address of TLS."""
    delete_marker: bool = False
    gives: bool = False
    """Whether this was answered to a HEAD, and a GET of the same worked."""
    page: str = ""
    """What it is and its likely cause, if it is a page of HTML: then S3 hardly sent it."""
    pause: float | None = None
    """Seconds for which S3 wants to be left alone (Retry-After, RFC 9110, 10.2.3)."""
    date: int | None = None
    """What time it is there (Unix s)."""

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes = b"") -> "Answer":
        """Read an error's headers and XML body; garbage in either leaves fields empty."""
        found = _elements(body)
        page = is_page(headers, body)
        code = found.get("Code", "") or (code_in(body) if page else "")
        location = headers.get("location", "")
        host = found.get("Endpoint") or _host_of(location)
        region = headers.get("x-amz-bucket-region") or found.get("Region") or _region_of(host)
        return cls(
            status=status,
            code=code,
            message=found.get("Message", "").rstrip("."),
            region=region if _REGION.fullmatch(region) else None,
            host=printable(host) or None,
            to_tls=location.lower().startswith("https://"),
            delete_marker=headers.get("x-amz-delete-marker") == "true",
            page=printable(describe_page(status, headers, body)) if page and not code else "",
            pause=_pause(headers.get("retry-after", ""), headers.get("date", "")),
            date=parse_date(headers.get("date", "")),
        )

    @property
    def transient(self) -> bool:
        """Whether the same request may work a moment later."""
        return self.status in _TRANSIENT_STATUSES or self.code in _TRANSIENT_CODES

    @property
    def throttled(self) -> bool:
        """Whether S3 says that it is asked too much."""
        return self.status in (429, 503, 509) or self.code in _THROTTLING_CODES

    @property
    def about_credentials(self) -> bool:
        """Whether other credentials may help: these have expired, or were replaced."""
        return self.code in _REPLACED_CODES

    def tells_time(self, signed_for: float) -> float | None:
        """Return what time it is there, if the request was signed for quite another one."""
        about_clock = self.code in _CLOCK_CODES and is_of_another_time(self.date, signed_for)
        return self.date if about_clock else None

    @property
    def about_signing(self) -> bool:
        """Whether the signature was at fault, though the status says something else."""
        return self.code in _EXPIRED_CODES or self.code == "AuthorizationHeaderMalformed"

    @property
    def unexplained(self) -> bool:
        """Whether this is a refusal without a reason, as every one of a HEAD is."""
        refused = 400 <= self.status < 500 or self.status == 501
        return refused and not self.code and not self.transient

    def moved_from(self, region: str) -> str | None:
        """Return the bucket's region if the request went to another one."""
        if self.region is None or self.region == region:
            return None
        wrong = self.status == 400 and self.code in _WRONG_REGION_CODES
        return self.region if wrong or self.status in _REDIRECTS else None

    def __str__(self) -> str:
        shown = f"{self.status} {self.code}" if self.code else str(self.status)
        return f"{shown}: {self.message}" if self.message else f"{shown}{self.page}"


def refusal(answer: Answer, asked: Asked, attempts: int = 1) -> OriginError:
    """Return the error for a final answer; its text is one line that says what to do."""
    name, host = asked.name, asked.host
    optional = asked.torrent or asked.attributes
    # Some servers answer 500 to every call that they don't know.
    if answer.transient and not (optional and answer.status == 500):
        return OriginUnreachable(f"{name}: {host} still answers {answer} at attempt {attempts}")
    said = f"{name}: S3 answers {answer}"
    if optional and answer.status not in _NOT_ABOUT_THE_CALL and not answer.about_signing:
        unsupported, lacks = (
            (TorrentUnsupported, "makes no torrent of it")
            if asked.torrent
            else (AttributesUnsupported, "doesn't tell its parts")
        )
        return unsupported(
            f"{name}: {host} {lacks} ({answer})",
            for_every_key=answer.status in _NO_SUCH_METHOD,
        )
    if answer.gives and not optional and answer.status != 404:
        return HeadRefused(f"{said} to a HEAD, though it answers a GET")
    kms = answer.code.startswith("KMS.") or "KMS" in answer.message
    if answer.status in (400, 403) and kms:
        return AccessDenied(f"{said}; allow kms:Decrypt on its key, and read it with credentials")
    if answer.status == 400 and "ncryption" in answer.message:
        return AccessDenied(
            f"{said}; it is encrypted with a customer's key (SSE-C) and can't be published;"
            " copy it to an object under SSE-S3 or SSE-KMS"
        )
    if answer.delete_marker and answer.status in (404, 405):
        what = "this version is" if asked.version else "it was deleted: its newest version is"
        return ObjectMissing(f"{said}; {what} a delete marker")
    if answer.code in _BY_CODE:
        error, advice = _BY_CODE[answer.code]
        return error(f"{said}; {advice}")
    return _by_status(answer, asked, said)


def _by_status(answer: Answer, asked: Asked, said: str) -> OriginError:
    match answer.status:
        case 401 | 403 if answer.page:
            return AccessDenied(said)
        case 404 if answer.page and not asked.sidecar:
            # S3 would say so in XML: what a web server doesn't have may be in S3 all the same.
            return OriginFault(said)
        case 400 if answer.page:
            return OriginFault(said)
        case 401 | 403:
            return AccessDenied(f"{said}; {_permission(asked)}")
        case 404:
            return ObjectMissing(f"{said}; check bucket and key")
        case 412:
            return ObjectChanged(f"{asked.name}: the object was replaced ({answer})")
        case 416:
            return ObjectChanged(
                f"{asked.name}: the object is shorter than it was ({answer})", out_of_range=True
            )
        case 400 if not answer.code:
            return OriginFault(f"{said} and no reason; an object under SSE-C is answered so")
        case status if status in _REDIRECTS and answer.to_tls and not asked.tls:
            return OriginFault(
                f"{asked.name}: S3 answers {status} and points to https://{answer.host};"
                " begin endpoint with https://"
            )
        case status if status in _REDIRECTS:
            where = answer.host or answer.region
            pointer = f"and points to {where}" if where else "and doesn't say where to"
            return OriginFault(f"{said} {pointer}; check endpoint and region")
    return OriginFault(said)


def _permission(asked: Asked) -> str:
    if asked.anonymous:
        advice = "it is not public; give credentials and leave anonymous out"
    elif asked.torrent:
        advice = (
            "the object itself may be read; allow s3:GetObjectTorrent too,"
            ' or leave "origin" out of metainfo'
        )
    elif asked.attributes:
        action = "s3:GetObjectVersionAttributes" if asked.version else "s3:GetObjectAttributes"
        advice = (
            f"the object itself may be read; allow {action} too,"
            ' or leave "checksums" out of metainfo'
        )
    elif asked.listing:
        advice = "allow s3:ListBucket on the bucket"
    elif asked.writing:
        advice = "allow s3:PutObject on it, or leave write_sidecar out"
    else:
        action = "s3:GetObjectVersion" if asked.version else "s3:GetObject"
        advice = f"check that the key exists and allow {action} on it"
    if not asked.request_payer and not asked.anonymous:
        advice += "; if its requesters pay, set request_payer = true"
    if asked.bucket_owner is not None:
        advice += f"; check that {asked.bucket_owner} owns the bucket (expected_bucket_owner)"
    return advice


def label(ref: ObjectRef) -> str:
    """Return BUCKET/KEY for the text of an error: one line, whatever is in the key."""
    name = printable(f"{ref.bucket}/{ref.key}", 1200)
    return f"{name} (version {printable(ref.version_id)})" if ref.version_id else name


def printable(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Return `text`, escaped where it isn't printable and cut after `longest` characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return shown if len(text) <= longest else shown[:longest] + "..."


def _elements(body: bytes) -> dict[str, str]:
    """Return the texts of an error's body that matter here, by the names of their elements."""
    found: dict[str, str] = {}

    def take(path: list[str], text: str) -> None:
        if path[-1] in _ELEMENTS:
            found.setdefault(path[-1], printable(text.strip()))

    try:
        read_xml(body.lstrip(), take, longest=_LONGEST_TEXT)
    except ValueError:
        # Some servers and proxies write what isn't quite XML, such as a bare "&" in a URL. An error
        # is better read loosely than not at all: what its elements say plainly still counts.
        for name, value in _LOOSE_ELEMENT.findall(body):
            text = html.unescape(value.decode(errors="replace"))
            found.setdefault(name.decode(), printable(text.strip()))
    return found


def _pause(told: str, date: str) -> float | None:
    """Return the seconds of a Retry-After; None for garbage.

    If it is a date, as proxies send, they count from the answer's own `date`: clocks differ.
    """
    if _DELAY.fullmatch(told.strip()):
        return float(told)
    until, now = parse_date(told), parse_date(date)
    return None if until is None or now is None or until < now else float(until - now)


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or ""
    except ValueError:
        return ""


def _region_of(host: str) -> str:
    match = _AWS_HOST.search(host.lower())
    if match is None:
        return ""
    return "us-east-1" if match[1] == "external-1" else match[1]
