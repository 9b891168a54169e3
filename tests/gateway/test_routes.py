"""The public listener: the tracker's pages, torrents by object, and everything else."""

import random
from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from ipaddress import ip_network
from urllib.parse import quote_from_bytes
from xml.etree import ElementTree

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.announces import TRACKER_PAGES
from seeder.gateway.clients import REQUESTS_A_SECOND, REQUESTS_AT_ONCE
from seeder.http.headers import content_disposition
from seeder.http.messages import Request, Response
from seeder.net.addresses import compact_endpoint
from seeder.net.buckets import AddressLimiter
from seeder.net.doors import Door, NetworkRules
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import LEAST_WAIT
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.tracker.tallies import ANNOUNCE_OUTCOMES, EVENTS, UNREAD
from tests.gateway.support import (
    ENTRY,
    MAGNET,
    TORRENT,
    AnyObjects,
    OnePage,
    Public,
    error_code,
    header,
    make_routes,
    page_of,
)
from tests.http.serving import ask, exchange, get, serving
from tests.tracker.announcing import HASH, OWN_PORT, SIZE, Ledger, packed, peer_id

CORS = {
    b"Access-Control-Allow-Origin": b"*",
    b"Access-Control-Expose-Headers": b"Accept-Ranges, Content-Disposition, Content-Encoding,"
    b" Content-Length, Content-Range, ETag, Last-Modified, Retry-After, x-amz-request-id, *",
    b"Cross-Origin-Resource-Policy": b"cross-origin",
    b"Timing-Allow-Origin": b"*",
}


def announce(*more: str, path: str = "/announce", name: str = "a") -> str:
    fields = [
        f"info_hash={quote_from_bytes(HASH)}",
        f"peer_id={quote_from_bytes(peer_id(name))}",
        "port=2000",
        f"left={SIZE}",
        *more,
    ]
    return f"{path}?{'&'.join(fields)}"


def decoded(response: Response) -> dict[bytes, object]:
    assert isinstance(response.body, bytes)
    assert response.status == 200
    assert (b"Content-Type", b"text/plain") in response.headers
    value = bencode2.bdecode(response.body)
    assert isinstance(value, dict)
    return value


def endpoint(address: str, port: int = 2000) -> bytes:
    return compact_endpoint(packed(address), port)


@pytest.mark.parametrize("path", ["/announce", "/announce/PASSKEY", "/announce/a/b"])
def test_an_announce_is_answered_with_peers(path: str) -> None:
    public = Public()
    public.get(announce(name="b"), peer="192.0.2.2")
    reply = decoded(public.get(announce(path=path)))
    assert reply[b"peers"] == endpoint("203.0.113.7", OWN_PORT) + endpoint("192.0.2.2")
    assert reply[b"external ip"] == packed("192.0.2.1")
    assert (reply[b"complete"], reply[b"incomplete"]) == (1, 2)


def test_addresses_in_the_query_are_ignored() -> None:
    public = Public()
    public.get(announce("ip=198.51.100.66", "ipv4=198.51.100.66", "ipv6=2001:db8::66"))
    reply = decoded(public.get(announce(name="b"), peer="192.0.2.2"))
    assert reply[b"peers"] == endpoint("203.0.113.7", OWN_PORT) + endpoint("192.0.2.1")


def test_ipv4_on_a_socket_of_ipv6_is_ipv4() -> None:
    public = Public()
    public.get(announce(), peer="::ffff:192.0.2.1", local="::ffff:203.0.113.7")
    reply = decoded(public.get(announce(name="b"), peer="192.0.2.2"))
    assert reply[b"peers"] == endpoint("203.0.113.7", OWN_PORT) + endpoint("192.0.2.1")


def test_the_long_form_tells_nobody_the_id_of_a_peer() -> None:
    public = Public()
    public.get(announce(name="b"), peer="192.0.2.2")
    own = {b"ip": b"203.0.113.7", b"port": OWN_PORT}
    other = {b"ip": b"192.0.2.2", b"port": 2000}
    for wish in ("no_peer_id=0", "no_peer_id=1"):
        reply = decoded(public.get(announce("compact=0", wish)))
        assert reply[b"peers"] == [own, other]
        public.now += 10


def test_refusals_have_status_200_and_a_reason() -> None:
    public = Public()
    assert decoded(public.get("/announce")) == {b"failure reason": b"info_hash is missing"}
    other = announce().replace(quote_from_bytes(HASH), "x" * 20)
    assert decoded(public.get(other)) == {
        b"failure reason": b"torrent not registered with this tracker",
        b"retry in": b"never",
    }


@pytest.mark.parametrize("path", ["/scrape", "/scrape/PASSKEY"])
def test_a_scrape_is_answered(path: str) -> None:
    public = Public()
    done = announce("event=completed", f"downloaded={SIZE}")
    public.get(done.replace(f"left={SIZE}", "left=0"))
    target = f"{path}?info_hash={quote_from_bytes(HASH)}&info_hash={'x' * 20}"
    assert decoded(public.get(target)) == {
        b"files": {
            bytes(HASH): {b"complete": 2, b"downloaded": 1, b"incomplete": 0},
            b"x" * 20: {b"complete": 0, b"downloaded": 0, b"incomplete": 0},
        },
        b"flags": {b"min_request_interval": 900},
    }
    assert b"failure reason" in decoded(public.get(path))


def test_a_trusted_proxy_speaks_for_its_client() -> None:
    public = Public(proxies=["10.0.0.0/8"])
    forwarded = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.1, 10.0.0.9")]
    reply = decoded(public.get(announce(), *forwarded, peer="10.0.0.1"))
    assert reply[b"external ip"] == packed("192.0.2.1")
    # The proxy reached us at an address that clients don't know.
    assert reply[b"peers"] == b""


def test_nobody_else_speaks_for_others() -> None:
    for proxies in ([], ["10.0.0.0/8"]):
        public = Public(proxies=proxies)
        forwarded = ("X-Forwarded-For", "198.51.100.66")
        reply = decoded(public.get(announce(), forwarded, peer="192.0.2.1"))
        assert reply[b"external ip"] == packed("192.0.2.1")


@pytest.mark.parametrize("forwarded", [(), (("X-Forwarded-For", "unknown"),)])
def test_a_client_in_the_proxies_network_is_itself(forwarded: Sequence[tuple[str, str]]) -> None:
    public = Public(proxies=["10.0.0.0/8"])
    reply = decoded(public.get(announce(), *forwarded, peer="10.0.0.1", local="10.0.0.9"))
    assert reply[b"external ip"] == packed("10.0.0.1")
    # It reached us there, and so will find our own seeder.
    assert reply[b"peers"] == packed("10.0.0.9") + OWN_PORT.to_bytes(2, "big")
    assert public.swarms.statistics(HASH).peers == 1
    assert public.get("/quotes/Nelson?torrent", *forwarded, peer="10.0.0.1").status == 200


def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    public = Public(limiter=AddressLimiter(rate=1, burst=2))
    for _ in range(2):
        assert b"peers" in decoded(public.get(announce()))
    refused = decoded(public.get(announce()))
    assert refused[b"failure reason"] == b"too many requests from your address"
    assert refused[b"retry in"] in (b"1", b"2", b"3")
    slow_down = public.get("/quotes/Nelson?torrent")
    assert (slow_down.status, error_code(slow_down)) == (503, "SlowDown")
    # Some tools sleep for as long as they are told.
    assert header(slow_down, b"Retry-After") == b"5"
    assert b"peers" in decoded(public.get(announce(name="b"), peer="192.0.2.2"))


def test_announces_are_counted_by_event_and_outcome_and_scrapes_by_outcome() -> None:
    limiter = AddressLimiter(rate=1e-9, burst=7)
    public = Public(limiter=limiter)
    unknown = announce().replace(quote_from_bytes(HASH), "x" * 20)
    for target in (
        announce("event=started"),
        announce(),
        announce("event=completed").replace("port=2000", "port=0"),
        "/announce",
        f"{unknown}&event=started",
        f"/scrape?info_hash={quote_from_bytes(HASH)}",
        "/scrape",
    ):
        decoded(public.get(target))
    while limiter.admit(packed("192.0.2.1"), 0.0):
        pass
    for target in (announce("event=started"), announce("event=stopped"), "/scrape"):
        decoded(public.get(target))
    public.doors.tracker.follow(Door(NetworkRules(deny=(ip_network("192.0.2.0/24"),))))
    for target in (announce("event=started"), "/scrape"):
        decoded(public.get(target))
    tallies = public.swarms.tallies
    assert tallies.announces == {
        ("unread", "denied"): 1,
        ("started", "answered"): 1,
        ("none", "answered"): 1,
        ("unread", "malformed"): 2,
        ("started", "unknown-torrent"): 1,
        ("unread", "too-often"): 1,
        ("stopped", "answered"): 1,
    }
    assert tallies.scrapes == {"answered": 1, "malformed": 1, "too-often": 1, "denied": 1}
    assert {event for event, _ in tallies.announces} <= {*EVENTS, UNREAD}
    outcomes = {outcome for _, outcome in tallies.announces} | set(tallies.scrapes)
    assert outcomes == set(ANNOUNCE_OUTCOMES)


def test_a_mirror_of_thousands_of_torrents_comes_back_bit_by_bit() -> None:
    public = Public(limiter=AddressLimiter(rate=1e-9, burst=1e-9))
    replies = [decoded(public.get(announce())) for _ in range(4500)]
    each_second = Counter[int]()
    for reply in replies:
        seconds = int(str(reply[b"interval"]))
        each_second[seconds - LEAST_WAIT] += 1
        assert reply[b"min interval"] == seconds
        assert reply[b"retry in"] == b"%d" % (1 - (LEAST_WAIT - seconds) // 60)
    assert (min(each_second), max(each_second)) == (0, 120)
    # Of 50 requests a second that an address has, what comes back takes no more at any time.
    waves = [each_second[at] + each_second[at + 1] for at in range(120)]
    assert max(waves) <= 100
    # So does what isn't loaded yet.
    loading = Public()
    loading.swarms.loading = True
    other = announce().replace(quote_from_bytes(HASH), "x" * 20)
    waits = {decoded(loading.get(other))[b"interval"] for _ in range(100)}
    assert waits == set(range(LEAST_WAIT, LEAST_WAIT + 61))


def test_a_mirror_gets_in_at_the_second_try_and_leaves_no_ghost() -> None:
    """With the waits of libtorrent, which makes five minutes of whatever is less."""
    public = Public(limiter=AddressLimiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE))
    hashes = [InfoHash(b"%020d" % number) for number in range(5000)]
    for info_hash in hashes:
        public.swarms.open(info_hash, size=SIZE, claims=public.ledger)

    def tell(info_hash: InfoHash, event: str, left: int = 0) -> dict[bytes, object]:
        whole = announce(f"event={event}", f"downloaded={SIZE}")
        whole = whole.replace(quote_from_bytes(HASH), info_hash.decode())
        return decoded(public.get(whole.replace(f"left={SIZE}", f"left={left}")))

    # All of them within five seconds.
    due = [(number / 1000, info_hash) for number, info_hash in enumerate(hashes)]
    refused_at = list[float]()
    heapify(due)
    while due:
        public.now, info_hash = heappop(due)
        reply = tell(info_hash, "started", SIZE)
        if b"failure reason" in reply:
            refused_at.append(public.now)
            wait = max(LEAST_WAIT, int(str(reply[b"interval"])))
            heappush(due, (public.now + wait, info_hash))
    assert max(refused_at) < 5
    assert public.now < 5 + LEAST_WAIT + 120
    some = hashes[: 2 * int(REQUESTS_AT_ONCE)]
    for event, left in (("completed", len(some)), ("stopped", 0)):
        for info_hash in some:
            assert tell(info_hash, event)[b"peers"] == b""
        listed = [public.swarms.statistics(info_hash) for info_hash in some]
        assert sum(each.peers for each in listed) == left
        assert sum(each.completed for each in listed) == len(some)


@pytest.mark.parametrize("count", [1, 50])
def test_the_end_of_a_download_is_taken_from_who_asks_too_often(count: int) -> None:
    limiter = AddressLimiter(rate=1e-9, burst=count)
    public = Public(limiter=limiter)
    names = [f"n{number}" for number in range(count)]
    peers = [announce(name=name).replace("2000", str(2000 + n)) for n, name in enumerate(names)]
    # As many as an address may have in a swarm.
    for peer in peers[:32]:
        public.get(peer)
    listed = min(count, 32)
    assert public.swarms.statistics(HASH).peers == listed
    while limiter.admit(packed("192.0.2.1"), 0.0):
        pass
    assert b"failure reason" in decoded(public.get(peers[0]))
    for peer in peers[:32]:
        done = peer.replace(f"left={SIZE}", "left=0") + f"&event=completed&downloaded={SIZE}"
        assert decoded(public.get(done))[b"peers"] == b""
    assert public.swarms.statistics(HASH).seeds == listed
    for peer in peers[:32]:
        assert decoded(public.get(f"{peer}&event=stopped"))[b"peers"] == b""
    assert public.swarms.statistics(HASH).peers == 0
    # Nobody hears of peers that way.
    asking = announce("event=completed", "numwant=50", name="x")
    assert decoded(public.get(asking))[b"peers"] == b""


def test_a_scrape_counts_by_its_hashes() -> None:
    public = Public(limiter=AddressLimiter(rate=1, burst=20))
    one = f"/scrape?info_hash={quote_from_bytes(HASH)}"
    many = one + "".join(f"&info_hash={'x' * 18}{number}" for number in range(10, 73))
    assert b"files" in decoded(public.get(many))
    assert b"failure reason" in decoded(public.get(many))
    # Sixteen for its hashes, one for the request, one for a reply of 5 KB.
    for _ in range(2):
        assert b"files" in decoded(public.get(one))
    assert b"failure reason" in decoded(public.get(one))


def test_behind_a_proxy_each_client_has_its_own_rate() -> None:
    public = Public(proxies=["10.0.0.0/8"], limiter=AddressLimiter(rate=1, burst=1))
    for number in range(5):
        forwarded = ("X-Forwarded-For", f"192.0.2.{number}")
        assert b"peers" in decoded(public.get(announce(), forwarded, peer="10.0.0.1"))


@given(st.binary(max_size=200), st.sampled_from(["/announce", "/scrape"]))
def test_any_query_is_answered_in_bencode(raw: bytes, path: str) -> None:
    query = raw.replace(b" ", b"").decode("latin-1")
    public = Public()
    request = Request(
        b"GET",
        path.encode(),
        query.encode("latin-1"),
        [],
        ("192.0.2.1", 1),
        ("203.0.113.7", 1),
    )
    assert b"failure reason" in decoded(public.ask(request))


@pytest.mark.parametrize(
    "query", ["torrent", "torrent=", "x-id=GetObjectTorrent&torrent", "torrent&magnet"]
)
def test_a_torrent_is_served_as_s3_served_it(query: str) -> None:
    public = Public()
    response = public.get(f"/quotes/Nelson?{query}")
    assert (response.status, response.body) == (200, TORRENT.body)
    assert dict(response.headers) == {
        b"x-amz-request-id": b"7CD745EBB7AB5ED9",
        b"ETag": b'"0123"',
        b"Cache-Control": b"no-cache",
        b"Content-Disposition": b"attachment; filename=Nelson.torrent",
        b"Content-Type": b"application/x-bittorrent",
        **CORS,
    }
    assert public.objects.asked == [("quotes", "Nelson")]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/quotes/a/b//c", ("quotes", "a/b//c")),
        ("/quotes/../x", ("quotes", "../x")),
        ("/quotes//x", ("quotes", "/x")),
        ("/quotes/a%2Fb%20c+d", ("quotes", "a/b c+d")),
        ("/quotes/%C3%9F", ("quotes", "ß")),
        ("/quotes/dir/", ("quotes", "dir/")),
        ("/announce/key", ("announce", "key")),
        ("/scrape/key", ("scrape", "key")),
        # A bundle of the whole bucket.
        ("/quotes/", ("quotes", "")),
        ("/quotes", ("quotes", "")),
    ],
)
def test_bucket_and_key_are_taken_from_the_path_as_they_are(
    path: str, named: tuple[str, str]
) -> None:
    public = Public()
    assert public.get(f"{path}?torrent").status == 200
    assert public.get(f"{path}?magnet").status == 200
    assert public.objects.asked == [named, named]


@pytest.mark.parametrize("path", ["/", "//key", "/quotes/%ff"])
def test_a_path_that_names_no_object_is_an_invalid_uri(path: str) -> None:
    for page in ("torrent", "magnet"):
        response = Public().get(f"{path}?{page}")
        assert (response.status, error_code(response)) == (400, "InvalidURI")


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("missing", 404, "NoSuchKey"),
        ("private", 403, "AccessDenied"),
        ("soon", 503, "ServiceUnavailable"),
    ],
)
def test_what_has_no_torrent_gets_an_error_of_s3(key: str, status: int, code: str) -> None:
    for page in ("torrent", "magnet"):
        response = Public().get(f"/quotes/{key}?{page}")
        assert (response.status, error_code(response)) == (status, code)
        assert (header(response, b"Retry-After") is not None) == (status == 503)


def test_an_error_quotes_the_path_without_becoming_markup() -> None:
    response = Public().get("/quotes/missing<&>'\"?torrent")
    assert isinstance(response.body, bytes)
    assert ElementTree.fromstring(response.body).findtext("Resource") == "/quotes/missing<&>'\""


@pytest.mark.parametrize(
    ("target", "asks", "charged"),
    [
        ("/paid/key?torrent", [("x-amz-request-payer", "requester")], True),
        ("/paid/key?magnet", [("x-amz-request-payer", "requester")], True),
        ("/paid/key?torrent&x-amz-request-payer=requester", [], True),
        ("/paid/key?torrent", [("x-amz-request-payer", "me")], False),
        ("/paid/key?torrent", [], False),
        ("/quotes/key?torrent", [("x-amz-request-payer", "requester")], False),
    ],
)
def test_a_charge_is_confirmed_to_who_agreed_to_it(
    target: str, asks: list[tuple[str, str]], charged: bool
) -> None:
    response = Public().get(target, *asks)
    assert response.status == 200
    assert header(response, b"x-amz-request-charged") == (b"requester" if charged else None)


@pytest.mark.parametrize(
    ("bucket", "expected", "status"),
    [
        ("paid", "111122223333", 200),
        ("paid", "999999999999", 403),
        ("paid", "", 403),
        ("quotes", "111122223333", 403),
    ],
)
def test_an_expected_owner_must_be_the_bucket_s(bucket: str, expected: str, status: int) -> None:
    public = Public()
    asked = public.get(f"/{bucket}/key?torrent", ("x-amz-expected-bucket-owner", expected))
    assert asked.status == status
    assert (
        public.get(f"/{bucket}/key?torrent&X-Amz-Expected-Bucket-Owner={expected}").status == status
    )
    assert status == 200 or error_code(asked) == "AccessDenied"


@pytest.mark.parametrize(
    ("host", "path", "named"),
    [
        ("quotes.t.example.org", "/a/b", ("quotes", "a/b")),
        ("QUOTES.T.example.org.:6969", "/a", ("quotes", "a")),
        ("my.dotted.t.example.org", "/a", ("my.dotted", "a")),
        ("quotes.t.example.org", "/announce", ("quotes", "announce")),
        ("quotes.t.example.org", "/scrape/x", ("quotes", "scrape/x")),
        ("quotes.deep.t.example.org", "/a", ("quotes", "a")),
        ("t.example.org", "/quotes/a", ("quotes", "a")),
        ("deep.t.example.org", "/quotes/a", ("quotes", "a")),
        ("xt.example.org", "/quotes/a", ("quotes", "a")),
        ("203.0.113.7:6969", "/quotes/a", ("quotes", "a")),
        ("[2001:db8::7]:6969", "/quotes/a", ("quotes", "a")),
        ("[2001:db8::7]", "/quotes/a", ("quotes", "a")),
    ],
)
def test_a_host_below_a_domain_names_the_bucket(
    host: str, path: str, named: tuple[str, str]
) -> None:
    public = Public(domains=["t.example.org", "deep.t.example.org"])
    for page in ("torrent", "magnet"):
        assert public.get(f"{path}?{page}", ("Host", host)).status == 200
    assert public.objects.asked == [named, named]


def test_a_bucket_s_host_has_the_tracker_too() -> None:
    public = Public(domains=["t.example.org"])
    for path in ("/announce", "/announce/PASSKEY"):
        assert b"peers" in decoded(public.get(announce(path=path), ("Host", "q.t.example.org")))
    assert decoded(public.get("/scrape", ("Host", "q.t.example.org")))
    assert public.get("/?torrent", ("Host", "q.t.example.org")).status == 200
    assert public.objects.asked == [("q", "")]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"0123"', 304),
        ('W/"0123"', 304),
        ('"9", "0123"', 304),
        ("*", 304),
        ('"9"', 200),
        ("0123", 200),
    ],
)
def test_who_has_the_torrent_is_not_sent_it_again(condition: str, status: int) -> None:
    response = Public().get("/quotes/Nelson?torrent", ("If-None-Match", condition))
    assert response.status == status
    assert header(response, b"ETag") == b'"0123"'
    assert (response.body == b"") == (status == 304)


def test_a_magnet_link_is_a_line_of_text() -> None:
    response = Public().get("/quotes/Nelson?magnet")
    assert (response.status, response.body) == (200, f"{MAGNET}\n".encode())
    assert header(response, b"Content-Type") == b"text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("Nelson.torrent", "attachment; filename=Nelson.torrent"),
        (
            "two words.torrent",
            "attachment; filename=\"two words.torrent\"; filename*=UTF-8''two%20words.torrent",
        ),
        (
            'q"\\%.torrent',
            "attachment; filename=\"q___.torrent\"; filename*=UTF-8''q%22%5C%25.torrent",
        ),
        (
            "Größe.torrent",
            "attachment; filename=\"Gr__e.torrent\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.torrent",
        ),
        ("a\r\nX: b", "attachment; filename=\"a__X: b\"; filename*=UTF-8''a%0D%0AX%3A%20b"),
        ("a;b=c", "attachment; filename=\"a;b=c\"; filename*=UTF-8''a%3Bb%3Dc"),
    ],
)
def test_any_file_name_can_be_said(filename: str, disposition: str) -> None:
    assert content_disposition(filename).decode("ascii") == disposition


@given(st.text())
def test_no_file_name_breaks_the_header(filename: str) -> None:
    filename = filename.encode("utf-8", "replace").decode()
    disposition = content_disposition(filename)
    assert all(0x20 <= byte < 0x7F for byte in disposition)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
@pytest.mark.parametrize("target", ["/", "/announce?x", "/scrape", "/nowhere", "*"])
def test_other_methods_are_not_allowed(method: str, target: str) -> None:
    response = Public().get(target, method=method)
    assert (response.status, header(response, b"Allow")) == (405, b"GET, HEAD")


def test_other_methods_on_an_object_are_refused_as_s3_does_it() -> None:
    response = Public().get("/quotes/Nelson?torrent", method="PUT")
    assert (response.status, error_code(response)) == (405, "MethodNotAllowed")
    assert header(response, b"Allow") == b"GET, HEAD"


def test_a_body_is_not_allowed_either() -> None:
    public = Public()
    for target in (announce(), "/", "/quotes/Nelson?torrent"):
        assert public.get(target, has_body=True).status == 405
    assert public.swarms.statistics(HASH).peers == 0


@pytest.mark.parametrize(
    "target", ["/nowhere", "/quotes/Nelson", "/announcement", "/scrapers", "*"]
)
def test_everything_else_is_not_found(target: str) -> None:
    assert Public().get(target).status == 404


def test_the_root_lists_torrents_where_that_is_wanted() -> None:
    index = OnePage(page_of(ENTRY))
    public = Public(
        index=index,
        domains=["t.example.org"],
        limiter=AddressLimiter(rate=1, burst=14),
    )
    assert header(public.get("/"), b"Content-Type") == b"text/html; charset=utf-8"
    assert public.get("/?format=json", ("Host", "quotes.t.example.org")).status == 200
    assert [asked.bucket for asked in index.asked] == [None, "quotes"]
    assert public.get("/", method="POST").status == 405
    # Two pages took most of what the address has; a torrent is still to be had.
    assert public.get("/").status == 503
    assert public.get("/quotes/Nelson?torrent").status == 200


def test_the_root_says_what_this_is() -> None:
    response = Public().get("/")
    assert response.status == 200
    assert isinstance(response.body, bytes)
    assert response.body.count(b"\n") == 1


async def test_all_of_it_works_over_a_socket() -> None:
    public = Public()
    async with serving(public.routes) as port:
        reply = await ask(port, get(announce(), "Connection: close"))
        assert bencode2.bdecode(reply.body)[b"peers"] == endpoint("127.0.0.1", OWN_PORT)
        torrent = await ask(port, get("/quotes/Nelson?torrent", method="HEAD", version="1.0"))
        assert torrent.headers[b"content-length"] == b"%d" % len(TORRENT.body)
        posted = await ask(port, b"POST /announce HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert posted.status == 405


@pytest.mark.parametrize("method", ["GET", "get", "Get", "POST", "TRACE"])
@pytest.mark.parametrize("page", ["/announce", "//announce", "/announce/key", "/scrape"])
def test_a_tracker_s_client_is_always_answered_in_its_own_tongue(page: str, method: str) -> None:
    public = Public()
    for has_body in (False, True):
        answer = public.get(f"{page}?x=y", method=method, has_body=has_body)
        assert b"failure reason" in decoded(answer._replace(status=200))
        assert answer.status == (200 if method == "GET" and not has_body else 405)
        assert (b"Allow" in dict(answer.headers)) == (answer.status == 405)
    assert b"peers" in decoded(public.get(announce(path="//announce")))
    assert public.get("/other/announce").status == 404


@pytest.mark.parametrize(
    "odd",
    [
        b"GET %b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET %b HTTP/1.1\r\nUser Agent: x\r\nHost: a\r\n\r\n",
        b"GET %b http/1.1\r\nHost: a\r\n\r\n",
        b"GET %b&c=d e HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET %b&" + b"a" * 20_000,
    ],
)
async def test_what_is_no_request_gets_a_bencoded_answer_from_the_tracker(odd: bytes) -> None:
    async with serving(Public().routes, hostless=TRACKER_PAGES) as port:
        for page in (announce(), announce(path="/announce/key"), "/scrape?info_hash=x"):
            raw = await exchange(port, odd % page.encode())
            head, _, body = raw.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            reply = bencode2.bdecode(body)
            assert isinstance(reply, dict)
            assert list(reply) == [b"failure reason"]


async def test_old_clients_announce_without_host_and_with_bare_bytes() -> None:
    info_hash = InfoHash(bytes(range(0x80, 0x94)))
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    swarms.open(info_hash, size=SIZE, claims=Ledger())
    query = b"?info_hash=%b&peer_id=%b&port=2000&left=1&event=started" % (info_hash, b"\xff" * 20)
    async with serving(make_routes(swarms, AnyObjects()), hostless=TRACKER_PAGES) as port:
        for page in (b"/announce", b"/announce/key"):
            for host in (b"", b"Host: t\r\n"):
                raw = await exchange(
                    port, b"GET %b%b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (page, query, host)
                )
                assert raw.startswith(b"HTTP/1.1 200 ")
                reply = bencode2.bdecode(raw.partition(b"\r\n\r\n")[2])
                assert isinstance(reply, dict)
                assert reply[b"peers"]
        scrape = await exchange(port, b"GET /scrape%b HTTP/1.1\r\n\r\n" % query)
        assert b"8:completei1e" in scrape
        wrong = await exchange(port, b"GET /announce HTTP/1.1\r\n\r\n")
        assert wrong.endswith(b"d14:failure reason20:info_hash is missinge")
        other = await exchange(port, b"GET / HTTP/1.1\r\n\r\n")
        assert other.startswith(b"HTTP/1.1 400 ")
        named = await exchange(port, b"GET /b/\xc3\xa9 HTTP/1.1\r\n\r\n")
        assert named.endswith(b"\r\n\r\nthe Host header is missing\n")
