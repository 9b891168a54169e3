"""Where a bucket is asked for: botocore's endpoint rules, path style or virtual host. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

from seeder.errors import OriginError

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server, path prefix and signing scope of one bucket."""

    url: str
    """Scheme, host and port, without a path."""
    host: str
    """The Host header: no default port."""
    path: str
    """What comes before `/KEY`: empty with a virtual host, `/BUCKET` in path style."""
    region: str
    service: str = "s3"

    @property
    def virtual_host(self) -> bool:
        return not self.path


class EndpointRules:
    """Resolves buckets by the rule set that ships with botocore.

    A bucket goes into the path by itself where the endpoint is an IP address or where its name
    is no DNS label (with TLS: where it has a dot, which no wildcard certificate covers).
    """

    # botocore's rule sets are JSON documents of its own making: there is no type for them.
    def __init__(self, rule_set: Mapping[str, Any], partitions: Mapping[str, Any]) -> None:
        self._provider = EndpointProvider(rule_set, partitions)

    def resolve(
        self, bucket: str, *, region: str, endpoint: str | None, path_style: bool
    ) -> Endpoint:
        """Return where to ask for `bucket` (a name, or the ARN of an access point).

        OriginError when the rules refuse the names, or want a signature other than SigV4.
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
