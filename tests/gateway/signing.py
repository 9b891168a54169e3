"""Requests signed by botocore's own signers, at a time of the test's choosing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote, urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from seeder.gateway.sigv4 import SignedRequest

KEY_ID, SECRET = "READER", "secret-of-the-reader"
NOW = 1_790_000_000.0
HOST = "torrents.example.org:6969"
Query = Sequence[tuple[str, str | None]]


def url_of(key: str, query: Query = (), *, host: str = HOST, scheme: str = "http") -> str:
    """Return the URL of a path, quoted as botocore quotes it."""
    pairs = (
        quote(name, safe="-_.~") + ("" if value is None else "=" + quote(value, safe="-_.~"))
        for name, value in query
    )
    return f"{scheme}://{host}/{quote(key, safe='/~')}?{'&'.join(pairs)}"


def signed(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    expires: int | None = None,
    now: float = NOW,
    region: str = "us-east-1",
    secret: str = SECRET,
    key_id: str = KEY_ID,
    token: str | None = None,
) -> SignedRequest:
    """Return a request as it would arrive, signed in its headers, or in its query to expire."""
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}))
    credentials = Credentials(key_id, secret, token)
    signer: auth.SigV4Auth
    if expires is None:
        signer = auth.S3SigV4Auth(credentials, "s3", region)
    else:
        signer = auth.S3SigV4QueryAuth(credentials, "s3", region, expires=expires)
    moment = datetime.fromtimestamp(now, UTC)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        signer.add_auth(request)
    target = urlsplit(str(request.url))
    fields = {name.lower(): value for name, value in request.headers.items()}
    fields.setdefault("host", target.netloc)
    return SignedRequest(
        method.encode(),
        target.path.encode(),
        target.query.encode(),
        [(name.encode(), value.encode()) for name, value in fields.items()],
    )
