"""Answers for buckets: who sees which, and which of its objects are listed."""

import random
from xml.etree import ElementTree

import pytest

from seeder.gateway.access import Keyring, ReadKey
from seeder.gateway.listing import NAMESPACE
from seeder.gateway.routes import PublicRoutes
from seeder.http.messages import Request, Response
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedBundle
from seeder.tracker.swarm import SwarmPolicy
from seeder.tracker.swarms import OwnSeeder, Swarms
from tests.gateway.signing import KEY_ID, NOW, SECRET, signed, url_of
from tests.gateway.support import (
    OWNER,
    REQUEST_ID,
    OnePage,
    error_code,
    make_routes,
    objects_of,
    page_of,
    publish,
)

ADDRESS = ("192.0.2.1", 1)


def routes_of(catalog: Catalog, *readable: str) -> PublicRoutes:
    """Return the routes of a catalog, where READER may read some objects beside the public ones."""
    return make_routes(
        Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1)),
        objects_of(catalog),
        index=OnePage(page_of()),
        catalog=catalog,
        keyring=Keyring([ReadKey(KEY_ID, SECRET, readable)] if readable else []),
        clock=float,
        unix_clock=lambda: NOW,
        request_id=lambda: REQUEST_ID,
    )


def ask(
    routes: PublicRoutes, path: str, *, method: str = "GET", sign: bool = False, owner: str = ""
) -> Response:
    headers = {"x-amz-expected-bucket-owner": owner} if owner else {}
    query = [("list-type", "2")]
    arrived = signed(url_of(path, query), method=method, headers=headers)
    kept = [each for each in arrived.headers if sign or each[0] != b"authorization"]
    request = Request(method.encode(), arrived.path, arrived.query, kept, ADDRESS, ADDRESS)
    response = routes(request)
    assert isinstance(response, Response)
    return response


def texts(response: Response, name: str) -> list[str | None]:
    assert response.status == 200
    assert isinstance(response.body, bytes)
    root = ElementTree.fromstring(response.body)
    return [each.text for each in root.iter(f"{{{NAMESPACE}}}{name}")]


def publish_bundle(catalog: Catalog, prefix: str) -> None:
    ref = ObjectRef("default", "bucket", prefix)
    publication = Publication(ref)
    catalog.add(publication)
    info = parse_info(build_info(name="bundle", layout=Layout(5, 16384), pieces=b"b" * 20))
    catalog.serve(publication, Torrent(info, PinnedBundle.of(ref, []), "build"))


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
