"""Whatever a stranger is refused over HTTP, however often, leaves nothing behind."""

from urllib.parse import quote_from_bytes

import pytest

from seeder.gateway.access import Keyring, ReadKey
from seeder.http.messages import RequestReader, RequestRefused
from seeder.net.buckets import AddressLimiter
from tests.gateway.support import OnePage, Public, page_of
from tests.support.memory import leaves_memory_flat
from tests.tracker.announcing import HASH, SIZE, peer_id

TIMES = 200_000
ANNOUNCE = (
    f"/announce?info_hash={quote_from_bytes(HASH)}&peer_id={quote_from_bytes(peer_id('a'))}"
    f"&port=2000&left={SIZE}"
)
KEY = ReadKey("READER", "secret of the reader", ("bucket/*",))
SIGNED = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=READER/20261128/us-east-1/s3/aws4_request,"
    " SignedHeaders=host;x-amz-date, Signature=" + 64 * "0",
)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (ANNOUNCE, b"too many requests"),
        ("/scrape", b"too many requests"),
        ("/bucket/Nelson?torrent", b"SlowDown"),
        ("/", b"reduce your request rate"),
    ],
)
def test_those_who_ask_too_often(target: str, said: bytes) -> None:
    public = Public(limiter=AddressLimiter(1e-9, 0), index=OnePage(page_of()))
    assert said in _body(public, target)
    leaves_memory_flat(lambda _: public.get(target), TIMES // (1 if said[:1] == b"t" else 10))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/announce", b"info_hash is missing"),
        (ANNOUNCE.replace("port=2000", "port=x"), b"port"),
        (ANNOUNCE.replace(quote_from_bytes(HASH), "x" * 20), b"not registered"),
        ("/announce?%zz=%zz&&&=", b"failure"),
        ("/nothing", b"not found"),
        ("/missing/key?torrent", b"NoSuchBucket"),
        ("/bucket/missing?magnet", b"NoSuchKey"),
        ("/bucket/secret?torrent", b"AccessDenied"),
    ],
)
def test_what_there_is_not(target: str, said: bytes) -> None:
    public = Public()
    assert said in _body(public, target)
    leaves_memory_flat(lambda _: public.get(target), TIMES // 10)


def test_wrong_signatures_and_methods() -> None:
    public = Public(keyring=Keyring([KEY]))

    def once(_: int) -> None:
        public.get("/bucket/Nelson?torrent", SIGNED)
        public.get("/bucket/Nelson?torrent", method="PUT")
        public.get("/announce", method="POST", has_body=True)

    leaves_memory_flat(once, TIMES // 50)


def test_proxies_that_do_not_say_whom_they_speak_for() -> None:
    public = Public(proxies=["192.0.2.1"])
    assert b"peers" in _body(public, ANNOUNCE)
    leaves_memory_flat(lambda _: public.get(ANNOUNCE), TIMES // 10)


def test_refusals_of_ever_new_addresses() -> None:
    public = Public(limiter=AddressLimiter(1e-9, 0))

    def once(number: int) -> None:
        public.get(ANNOUNCE, peer=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")

    leaves_memory_flat(once, TIMES)


@pytest.mark.parametrize("head", [b"GET\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b"G" * 20_000])
def test_heads_that_are_none(head: bytes) -> None:
    def once(_: int) -> None:
        reader = RequestReader(16_384)
        reader.feed(head)
        with pytest.raises(RequestRefused):
            reader.next_head()

    leaves_memory_flat(once, TIMES // 20)


def _body(public: Public, target: str) -> bytes:
    body = public.get(target).body
    assert isinstance(body, bytes)
    return body
