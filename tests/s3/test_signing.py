"""Our requests against botocore's own client, and against a verifier written from the spec."""

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import trio
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.session import Session
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seeder.config.origins import OriginSettings
from seeder.s3.client import S3Origin
from seeder.s3.signing import Credentials, Endpoint, request_target, wire_request
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange
from tests.s3.fault_server import FaultServer, Seen, signature_is_valid, stored
from tests.s3.samples import NASTY
from tests.s3.support import CountingMeter

keys = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/.%+ ?#&=~"), min_size=1
).filter(lambda key: len(key.encode()) <= 1024)
CREDENTIALS = Credentials("AKIATEST", "secrettest", "token==")
PATH_STYLE = Endpoint("https://s3.example.org", "s3.example.org", "/quotes", "eu-west-2")


@cache
def botocore_client() -> BaseClient:
    return Session().create_client(
        "s3",
        region_name="eu-west-2",
        endpoint_url="https://s3.example.org",
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key,
        aws_session_token=CREDENTIALS.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def prepared_by_botocore(operation: str, **parameters: str) -> AWSPreparedRequest:
    """Return what botocore would send, and send nothing."""
    caught: list[AWSPreparedRequest] = []

    def catch(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        caught.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), _NoBody())

    client: Any = botocore_client()
    client.meta.events.register("before-send.s3", catch)
    try:
        getattr(client, operation)(Bucket="quotes", **parameters)
    finally:
        client.meta.events.unregister("before-send.s3", catch)
    return caught[0]


class _NoBody:
    def stream(self) -> list[bytes]:
        return []


@given(keys)
@settings(max_examples=60, deadline=None)
def test_the_target_on_the_wire_is_the_one_that_botocore_sends(key: str) -> None:
    theirs = urlsplit(prepared_by_botocore("get_object_torrent", Key=key).url)
    assert request_target(PATH_STYLE, key, [("torrent", None)]) == f"{theirs.path}?{theirs.query}"


@pytest.mark.parametrize("key", NASTY)
def test_our_signature_is_botocores_for_the_same_headers(key: str) -> None:
    theirs = prepared_by_botocore("get_object", Key=key, Range="bytes=0-9", VersionId="a+/b=")
    headers = {name.lower(): _text(value) for name, value in theirs.headers.items()}
    scope = dict(
        part.split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(", ")
    )
    ours_alone = {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
    extra = {name: headers[name] for name in set(scope["SignedHeaders"].split(";")) - ours_alone}
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = wire_request(
        "GET",
        PATH_STYLE,
        key,
        query=[("versionId", "a+/b=")],
        headers=extra,
        unsigned={},
        credentials=CREDENTIALS,
        now=when.timestamp(),
    )
    assert request.url + request.target == theirs.url
    assert dict(request.headers)["Authorization"] == headers["authorization"]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@given(keys, st.sampled_from([None, "token+/="]), st.none() | st.text(min_size=1, max_size=20))
@example("a/../b//c", None, None)
@example(" +%", "t", "?&=/ +")
def test_a_server_that_reads_the_wire_finds_the_signature_valid(
    key: str, token: str | None, version: str | None
) -> None:
    request = wire_request(
        "GET",
        PATH_STYLE,
        key,
        query=[("torrent", None), *([("versionId", version)] if version else [])],
        headers={"Range": "bytes=0-9", "If-Match": '"a  b"'},
        unsigned={"Connection": "close"},
        credentials=Credentials("AKIA", "secret", token),
        now=1_790_000_000.9,
    )
    headers = {name.lower(): value for name, value in request.headers}
    seen = Seen(request.method, request.target, headers, 1)
    assert signature_is_valid(seen, "secret")
    assert not signature_is_valid(seen, "other")
    assert unquote(request.target.partition("?")[0]) == f"/quotes/{key}"
    assert request.target.isascii()
    assert request.target.isprintable()
    assert headers["x-amz-date"] == "20260921T141320Z"


def test_without_credentials_nothing_is_signed() -> None:
    request = wire_request(
        "HEAD", PATH_STYLE, "k", headers={}, unsigned={}, credentials=None, now=0.0
    )
    assert dict(request.headers) == {"Host": "s3.example.org"}


def test_secrets_do_not_show_in_a_repr() -> None:
    assert "secrettest" not in repr(CREDENTIALS)
    assert "token==" not in repr(CREDENTIALS)


def test_nasty_keys_go_over_the_wire_as_they_were_signed() -> None:
    """Through the whole client: httpx would collapse `/../` if it were let near the path."""

    async def main() -> None:
        server = FaultServer(default=stored(b"0123456789"))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            origin = S3Origin(OriginSettings(endpoint=server.url), rng=random.Random(1))
            await nursery.start(origin.run)
            for key in NASTY:
                ref = ObjectRef("default", "quotes", key)
                pinned = await origin.head(ref, CountingMeter())
                assert pinned == PinnedObject(ref, '"tag"', 10)
                data = await origin.read_range(pinned, ByteRange(2, 3), CountingMeter(), "pieces")
                assert data == b"234"
            nursery.cancel_scope.cancel()
        paths = [unquote(seen.path) for seen in server.seen]
        assert paths == [f"/quotes/{key}" for key in NASTY for _ in range(2)]
        assert all(signature_is_valid(seen, "secrettest") for seen in server.seen)

    trio.run(main)
