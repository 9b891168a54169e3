"""Where a bucket is asked for, what a request looks like on the wire, and its signature.

Endpoints come from botocore's rules, signatures (Version 4) from its signer. No I/O.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from botocore.auth import EMPTY_SHA256_HASH, SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

from seeder.errors import OriginError

Query: TypeAlias = Sequence[tuple[str, str | None]]
"""Names and values of a query in their order; a name whose value is None stands alone."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, its secret, and the token that temporary ones carry; repr hides both."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One bucket's server, path prefix and signing scope."""

    url: str
    """Scheme, host and port, without a path."""
    host: str
    """The Host header, without the scheme's default port."""
    path: str
    """What comes before `/KEY`: empty with a virtual host, `/BUCKET` in path style."""
    region: str
    service: str = "s3"

    @property
    def virtual_host(self) -> bool:
        return not self.path


class EndpointRules:
    """Resolves buckets by the rule set that ships with botocore.

    Whatever the settings say, a bucket goes into the path when the endpoint is an IP address, and
    when its name is no DNS label (with TLS also when it has a dot, which no wildcard certificate
    covers).
    """

    # botocore's rule sets are JSON documents of its own making: there is no type for them.
    def __init__(self, rule_set: Mapping[str, Any], partitions: Mapping[str, Any]) -> None:
        self._provider = EndpointProvider(rule_set, partitions)

    def resolve(
        self, bucket: str, *, region: str, endpoint: str | None, path_style: bool
    ) -> Endpoint:
        """Return where to ask for `bucket` (a name, or the ARN of an access point).

        OriginError when the rules refuse the names, or want another signature than SigV4.
        """
        parameters: dict[str, Any] = {
            "Region": region,
            "Bucket": bucket,
            "ForcePathStyle": path_style,
            "UseGlobalEndpoint": False,
            "UseArnRegion": True,
        }
        if endpoint is not None:
            parameters["Endpoint"] = endpoint
        try:
            resolved = self._provider.resolve_endpoint(**parameters)
        except EndpointProviderError as error:
            raise OriginError(f"bucket {bucket} in region {region}: {error}") from error
        schemes = resolved.properties.get("authSchemes", [])
        scope = next((scheme for scheme in schemes if scheme["name"] == "sigv4"), None)
        if scope is None:
            wanted = " or ".join(scheme["name"] for scheme in schemes) or "none"
            raise OriginError(
                f"bucket {bucket}: this kind of bucket wants {wanted} signatures, which are not"
                " supported; publish from a general purpose bucket or a regional access point"
            )
        parts = urlsplit(resolved.url)
        host = parts.netloc
        if parts.port == _DEFAULT_PORTS.get(parts.scheme):
            host = host.removesuffix(f":{parts.port}")
        return Endpoint(
            url=f"{parts.scheme}://{host}",
            host=host,
            path=parts.path.rstrip("/"),
            region=scope["signingRegion"],
            service=scope["signingName"],
        )


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request exactly as it is sent; what is signed is `target`, `headers` and `body`."""

    method: str
    url: str
    """Scheme, host and port; `target` has the path, so that no client library normalises it."""
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


def request_target(endpoint: Endpoint, key: str, query: Query = ()) -> str:
    """Return the request target of a key: ASCII, with every segment of it, `/../` included.

    Everything but unreserved characters and `/` is percent-encoded, so the path is its own
    canonical form (Signature Version 4 for S3 encodes once and doesn't normalise).
    """
    target = f"{endpoint.path}/{quote(key, safe='/~')}"
    if query:
        pairs = (
            quote(name, safe="-_.~")
            if value is None
            else f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in query
        )
        target += "?" + "&".join(pairs)
    return target


def wire_request(
    method: str,
    endpoint: Endpoint,
    key: str,
    *,
    query: Query = (),
    headers: Mapping[str, str],
    unsigned: Mapping[str, str],
    credentials: Credentials | None,
    now: float,
    body: bytes | None = None,
) -> WireRequest:
    """Return the request for a key, signed at `now` (Unix seconds) unless `credentials` is None.

    `unsigned` are headers that a proxy may change on the way. A `body` of no bytes is one, too.
    """
    target = request_target(endpoint, key, query)
    fields = {"Host": endpoint.host, **headers}
    digest = EMPTY_SHA256_HASH
    if body is not None:
        fields["Content-Length"] = str(len(body))
        digest = hashlib.sha256(body).hexdigest()
    if credentials is not None:
        fields |= {
            "X-Amz-Content-SHA256": digest,
            "X-Amz-Date": datetime.fromtimestamp(now, UTC).strftime(SIGV4_TIMESTAMP),
        }
        if credentials.token:
            fields["X-Amz-Security-Token"] = credentials.token
        fields["Authorization"] = _authorization(method, endpoint, target, fields, credentials)
    written = (*fields.items(), *unsigned.items())
    return WireRequest(method, endpoint.url, target, written, body or b"")


def _authorization(
    method: str,
    endpoint: Endpoint,
    target: str,
    headers: Mapping[str, str],
    credentials: Credentials,
) -> str:
    """Return the Authorization header; it signs all of `headers`.

    botocore's add_auth() would do the same at the time of the machine's clock; its public steps
    take the time that is given.
    """
    frozen = ReadOnlyCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    signer = S3SigV4Auth(frozen, endpoint.service, endpoint.region)
    request = AWSRequest(method=method, url=endpoint.url + target, headers=headers)
    request.context["timestamp"] = headers["X-Amz-Date"]
    string_to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signature = signer.signature(string_to_sign, request)
    signed = signer.signed_headers(signer.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={signed}, Signature={signature}"
    )
