"""Answers for buckets: who sees which, and which of its objects are listed."""

import random
from xml.etree import ElementTree

import pytest
import trio
from trio.testing import MockClock

from seeder.gateway.access import Keyring, ReadKey
from seeder.gateway.listing import KEYS_AT_ONCE, NAMESPACE
from seeder.gateway.routes import PublicRoutes
from seeder.http.messages import Request, Response, split_target
from seeder.net.buckets import AddressLimiter
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import Description, ObjectRef, PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.gateway.signing import KEY_ID, NOW, SECRET, signed, url_of
from tests.gateway.steps import StepsOf
from tests.gateway.support import (
    OWNER,
    REQUEST_ID,
    OnePage,
    answer_at_once,
    error_code,
    header,
    make_routes,
    objects_of,
    page_of,
    publish,
)

ADDRESS = ("192.0.2.1", 1)
ADDRESSES = (ADDRESS, ADDRESS)


def routes_of(
    catalog: Catalog, *readable: str, limiter: AddressLimiter | None = None
) -> PublicRoutes:
    """Return the routes of a catalog, where READER may read some objects beside the public ones."""
    return make_routes(
        Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1)),
        objects_of(catalog),
        index=OnePage(page_of()),
        catalog=catalog,
        limiter=limiter,
        keyring=Keyring([ReadKey(KEY_ID, SECRET, readable)] if readable else []),
        clock=trio.current_time if limiter else float,
        unix_clock=lambda: NOW,
        request_id=lambda: REQUEST_ID,
    )


def ask(
    routes: PublicRoutes, path: str, *, method: str = "GET", sign: bool = False, owner: str = ""
) -> Response:
    request = request_of(path, method=method, sign=sign, owner=owner)
    return answer_at_once(routes, request)


def request_of(path: str, *, method: str = "GET", sign: bool = False, owner: str = "") -> Request:
    headers = {"x-amz-expected-bucket-owner": owner} if owner else {}
    query = [("list-type", "2")] if path else [("x-id", "ListBuckets")]
    arrived = signed(url_of(path, query), method=method, headers=headers)
    kept = [each for each in arrived.headers if sign or each[0] != b"authorization"]
    return Request(method.encode(), arrived.path, arrived.query, kept, ADDRESS, ADDRESS)


def texts(response: Response, name: str) -> list[str | None]:
    assert response.status == 200
    assert isinstance(response.body, bytes)
    root = ElementTree.fromstring(response.body)
    return [each.text for each in root.iter(f"{{{NAMESPACE}}}{name}")]


def publish_bundle(catalog: Catalog, prefix: str, *names: str, public: bool = True) -> Publication:
    """Publish objects below a prefix as a bundle."""
    ref = ObjectRef("default", "bucket", prefix)
    told = Description(784111777)
    members = [
        PinnedObject(ObjectRef("default", "bucket", prefix + name), '"m"', 5, description=told)
        for name in names
    ]
    publication = Publication(ref, public)
    catalog.add(publication)
    layout = Layout(max(1, len(members)) * 16384, 16384)
    info = parse_info(build_info(name=prefix, layout=layout, pieces=b"b" * 20 * layout.piece_count))
    catalog.serve(publication, Torrent(info, PinnedBundle.of(ref, members), "build"))
    return publication


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog()
    publish(made, "open")
    publish(made, "secret/a", public=False)
    publish(made, "soon", live=False)
    publish_bundle(made, "pictures/")
    return made


def test_listed_is_what_is_served_and_may_be_read(catalog: Catalog) -> None:
    assert texts(ask(routes_of(catalog), "bucket"), "Key") == ["open"]
    routes = routes_of(catalog, "bucket/secret/*")
    assert texts(ask(routes, "bucket"), "Key") == ["open"]
    assert texts(ask(routes, "bucket", sign=True), "Key") == ["open", "secret/a"]


def test_a_bucket_is_there_for_whoever_may_read_anything_of_it() -> None:
    catalog = Catalog()
    publish(catalog, "secret", public=False)
    routes = routes_of(catalog, "bucket/*")
    for sign, status in ((False, 403), (True, 200)):
        assert ask(routes, "bucket", method="HEAD", sign=sign).status == status
        assert texts(ask(routes, "", sign=sign), "Name") == (["bucket"] if sign else [])
    assert error_code(ask(routes, "bucket")) == "AccessDenied"
    assert error_code(ask(routes, "basket", sign=True)) == "NoSuchBucket"


def test_a_bucket_that_has_no_object_to_give_at_present_is_empty_not_forbidden() -> None:
    catalog = Catalog()
    building = publish(catalog, "soon", live=False)
    building.settle(State.BUILDING)
    routes = routes_of(catalog)
    assert ask(routes, "bucket", method="HEAD").status == 200
    assert texts(ask(routes, "bucket"), "Key") == []
    assert texts(ask(routes, ""), "Name") == ["bucket"]
    catalog.remove(building.ref)
    publish_bundle(catalog, "pictures/")
    assert ask(routes, "bucket", method="HEAD").status == 200
    assert texts(ask(routes, "bucket"), "Key") == []


def test_another_owner_than_the_clients_is_refused(catalog: Catalog) -> None:
    assert error_code(ask(routes_of(catalog), "bucket", owner=OWNER)) == "AccessDenied"


def test_nothing_is_listed_before_it_is_known_what_there_is(catalog: Catalog) -> None:
    routes = routes_of(catalog)
    catalog.unlisted.add(ObjectRef("default", "bucket", "more/"))
    assert error_code(ask(routes, "bucket")) == "ServiceUnavailable"
    assert ask(routes, "bucket", method="HEAD").status == 200


def test_the_objects_of_bundles_are_listed_once_each_as_far_as_they_may_be_read() -> None:
    catalog = Catalog()
    publish(catalog, "open/b")
    publish(catalog, "open/secret", public=False)
    publish(catalog, "open/soon", live=False)
    publish_bundle(catalog, "open/", "a", "b", "secret", "soon", "x/deep")
    publish_bundle(catalog, "open/x/", "deep", "er")
    closed = publish_bundle(catalog, "closed/", "a", "b", public=False)
    assert texts(ask(routes_of(catalog), "bucket"), "Key") == [
        *("open/a", "open/b", "open/soon", "open/x/deep", "open/x/er")
    ]
    routes = routes_of(catalog, "bucket/closed/a*")
    assert "closed/a" not in texts(ask(routes, "bucket"), "Key")
    assert texts(ask(routes, "bucket", sign=True), "Key")[0] == "closed/a"
    assert "closed/b" not in texts(ask(routes, "bucket", sign=True), "Key")
    catalog.retire(closed, "replaced")
    assert "closed/a" not in texts(ask(routes, "bucket", sign=True), "Key")
    for prefix in ("open/x/", "open/"):
        catalog.remove(ObjectRef("default", "bucket", prefix))
    assert texts(ask(routes_of(catalog), "bucket"), "Key") == ["open/b"]


def test_a_public_bundle_shows_what_a_longer_private_one_has_too() -> None:
    catalog = Catalog()
    publish_bundle(catalog, "a/", "b/c")
    publish_bundle(catalog, "a/b/", "c", "d", public=False)
    assert texts(ask(routes_of(catalog), "bucket"), "Key") == ["a/b/c"]


def test_a_bucket_has_the_date_of_its_first_torrent_and_objects_never_one_of_1970() -> None:
    catalog = Catalog()
    for number, key in enumerate(("later", "first", "last")):
        publication = publish(catalog, key)
        torrent = publication.torrent
        assert torrent is not None
        published = 1_600_000_000 + (number - 1) ** 2
        dated = Torrent(torrent.info, torrent.pinned, "build", published=published)
        catalog.retire(publication, "replaced")
        catalog.serve(publication, dated)
    routes = routes_of(catalog)
    assert texts(ask(routes, ""), "CreationDate") == ["2020-09-13T12:26:40.000Z"]
    dates = texts(ask(routes, "bucket"), "LastModified")
    assert dates == ["2020-09-13T12:26:40.000Z", *["2020-09-13T12:26:41.000Z"] * 2]
    # Of a bucket without any torrent yet, and no date at all.
    fresh = Catalog()
    publish(fresh, "soon", live=False)
    assert texts(ask(routes_of(fresh), ""), "CreationDate") != ["1970-01-01T00:00:00.000Z"]


async def test_a_page_is_made_in_slices() -> None:
    """Others get their turn in between, also where nothing may be shown of many objects."""
    catalog, many = Catalog(), 9 * KEYS_AT_ONCE
    publish_bundle(catalog, "b/", *(f"{number:04}" for number in range(many)))
    for number in range(many):
        publish(catalog, f"c/{number:04}", public=False, live=number == 0)
    routes = routes_of(catalog)
    steps = StepsOf(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(steps)
    # Between two slices the task gives its turn away: there are as many turns as slices.
    listed = routes(request_of("bucket"))
    assert not isinstance(listed, Response)
    assert len(texts(await listed, "Key")) == many
    assert steps.count >= many // KEYS_AT_ONCE
    catalog.remove(ObjectRef("default", "bucket", "b/"))
    steps.count = 0
    refused = routes(request_of("bucket"))
    assert not isinstance(refused, Response)
    assert error_code(await refused) == "AccessDenied"
    assert steps.count >= many // KEYS_AT_ONCE
    trio.lowlevel.remove_instrument(steps)
    # What was found out of a closed bucket holds for a moment.
    assert error_code(ask(routes, "bucket")) == "AccessDenied"


@pytest.mark.parametrize(
    "program",
    [
        "rclone/v1.60.1-DEV",
        "aws-cli/1.44 md/Botocore#1.42",
        "aws-sdk-cpp/1.11 ua/2.1",
        "MinIO (linux; amd64) minio-go/v7",
        "Hadoop 3.4, aws-sdk-java/2.29",
    ],
)
def test_a_tool_that_signs_nothing_gets_the_list_of_buckets_all_the_same(program: str) -> None:
    catalog = Catalog()
    publish(catalog, "open")
    for name, is_tool in ((program, True), ("Mozilla/5.0 Firefox/140.0", False), ("curl/8", False)):
        headers = [(b"user-agent", name.encode())]
        request = Request(b"GET", b"/", b"", headers, ADDRESS, ADDRESS)
        answer = answer_at_once(routes_of(catalog), request)
        assert (b"ListAllMyBucketsResult" in answer.body) == is_tool  # type: ignore[operator]


def test_who_names_the_bucket_by_a_host_that_is_no_domain_here_is_told_so(
    catalog: Catalog,
) -> None:
    """A list of buckets would be an empty listing to it, and tools delete what isn't listed."""
    routes = routes_of(catalog)

    def answer(target: str, method: str = "GET") -> Response:
        path, query = split_target(target.encode())
        headers = [(b"host", b"bucket.t.example.org:6969"), (b"user-agent", b"aws-cli/2")]
        return answer_at_once(routes, Request(method.encode(), path, query, headers, *ADDRESSES))

    for query in ("list-type=2&prefix=a", "encoding-type=url", "location", "delimiter=/", "acl"):
        refusal = answer(f"/?{query}")
        assert error_code(refusal) == "InvalidRequest"
        assert isinstance(refusal.body, bytes)
        assert b"domains of [gateway]" in refusal.body
    assert answer("/", "HEAD").status == 400
    for target in ("/open?torrent", "/open/a?torrent", "/open?list-type=2"):
        refusal = answer(target)
        assert refusal.status in (400, 404)
        assert isinstance(refusal.body, bytes)
        # Without a key it could be a bucket in the path.
        hint = b"The host names the bucket bucket, which takes t.example.org in domains"
        assert hint in refusal.body or target == "/open?torrent"
    # A host that begins as a bucket is called is as good as any other.
    assert answer("/bucket/open?torrent").status == 200
    assert texts(answer("/bucket?list-type=2"), "Key") == ["open"]
    assert texts(answer("/?x-id=ListBuckets&prefix=b"), "Name") == ["bucket"]


async def test_tools_that_ask_page_by_page_wait_and_are_not_refused(
    autojump_clock: MockClock,
) -> None:
    catalog = Catalog()
    publish_bundle(catalog, "b/", *(f"{number:04}" for number in range(1000)))
    routes = routes_of(catalog, limiter=AddressLimiter(50.0, 500.0))
    begun = trio.current_time()
    for _ in range(20):
        answer = routes(request_of("bucket"))
        assert not isinstance(answer, Response)
        assert len(texts(await answer, "Key")) == 1000
    # 20 pages of some 200 KB cost 1,000 requests, of which there are 500 at once and 50 a second.
    assert 5 < trio.current_time() - begun < 30

    # Who sends them all at once is refused in the end, and hears when to come back.
    refused = []
    for _ in range(1000):
        answer = routes(request_of("bucket"))
        if isinstance(answer, Response):
            refused.append(answer)
        else:
            answer.close()  # type: ignore[attr-defined]
    assert len(refused) > 700
    assert {error_code(each) for each in refused} == {"SlowDown"}
    assert {header(each, b"Retry-After") for each in refused} == {b"20"}
