"""How calls to one origin are written: for the region of the bucket, with the present credentials.

Credentials and regions are kept here; the signature itself is made by `seeder.s3.signing`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.loaders import create_loader

from seeder import __version__
from seeder.config.origins import OriginSettings
from seeder.s3.answers import Asked, label
from seeder.s3.calls import Call
from seeder.s3.clock import SigningClock
from seeder.s3.credentials import CredentialStore, chain
from seeder.s3.signing import Credentials, Endpoint, EndpointRules, WireRequest, wire_request


class Signer:
    """Signs the calls to one origin; `wall_clock` returns Unix s."""

    def __init__(self, settings: OriginSettings, wall_clock: Callable[[], float]) -> None:
        self._settings = settings
        self.clock = SigningClock(f"origin {settings.name}", wall_clock)
        find = partial(chain, settings.profile, settings.region)
        self.credentials = CredentialStore(settings.name, None if settings.anonymous else find)
        loader = create_loader()
        self._rules = EndpointRules(
            loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
        )
        self._regions: dict[str, str] = {}
        """The regions of buckets that turned out not to be in the configured one."""

    def region(self, bucket: str) -> str:
        """Return the region that a bucket is in, as far as is known."""
        return self._regions.get(bucket, self._settings.region)

    def move(self, bucket: str, region: str) -> None:
        """Sign for another region, where the bucket is."""
        self._regions[bucket] = region

    def endpoint(self, bucket: str, region: str) -> Endpoint:
        """Return where a bucket of this region is asked for. OriginError."""
        return self._rules.resolve(
            bucket,
            region=region,
            endpoint=self._settings.endpoint,
            path_style=self._settings.path_style,
        )

    def sign(
        self, call: Call[Any], endpoint: Endpoint, credentials: Credentials | None
    ) -> WireRequest:
        """Return the request of a call, to be sent now; without credentials it isn't signed."""
        headers = dict(call.headers)
        if self._settings.request_payer:
            headers["x-amz-request-payer"] = "requester"
        if self._settings.expected_bucket_owner is not None:
            headers["x-amz-expected-bucket-owner"] = self._settings.expected_bucket_owner
        unsigned = {"User-Agent": f"seeder/{__version__}", "Accept-Encoding": "identity"}
        if call.torrent:
            # Ceph 20 announces no body, then sends one: nothing may follow on that connection.
            unsigned["Connection"] = "close"
        return wire_request(
            call.method,
            endpoint,
            call.key,
            query=call.query,
            headers=headers,
            unsigned=unsigned,
            credentials=credentials,
            now=self.clock.now(),
            body=call.body,
        )

    def asked(self, call: Call[Any], endpoint: Endpoint) -> Asked:
        """Return what a call asks, and as whom, for the text of its refusal."""
        return Asked(
            name=label(call.ref),
            host=endpoint.host,
            torrent=call.torrent,
            attributes=bool(call.about),
            sidecar=call.dispensable and call.listing is None,
            writing=call.body is not None,
            listing=call.listing is not None,
            version=call.ref.version_id is not None,
            anonymous=self.credentials.anonymous,
            request_payer=self._settings.request_payer,
            bucket_owner=self._settings.expected_bucket_owner,
            tls=endpoint.url.startswith("https:"),
        )
