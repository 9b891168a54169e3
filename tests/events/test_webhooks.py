"""POST /events/NAME: who is heard."""

import json
from pathlib import Path

import pytest

from seeder.events.webhooks import Webhooks
from seeder.http.messages import Request, Response
from seeder.s3.notifications import LARGEST_MESSAGE
from tests.events.support import Ears, feed_of, kept
from tests.s3.event_samples import CEPH_EVENT

TOKEN = "a-token-of-24-characters"
BODY = json.dumps(CEPH_EVENT).encode()


class Hooked:
    """A webhook named uploads."""

    def __init__(self, directory: Path) -> None:
        self.ears = Ears()
        self.feed = feed_of(self.ears, directory)
        self.webhooks = Webhooks({"uploads": self.feed}, {"uploads": TOKEN})

    async def post(
        self, target: str, body: bytes = BODY, *, method: bytes = b"POST", bearer: str | None = None
    ) -> Response:
        """Return the answer; the body is read as far as it is wanted."""
        path, _, query = target.encode().partition(b"?")
        headers = [] if bearer is None else [(b"authorization", bearer.encode())]
        peers = ("127.0.0.1", 1), ("127.0.0.1", 2)
        request = Request(method, path, query, headers, *peers, has_body=True)
        wanted = self.webhooks.wanted(request)
        return await self.webhooks(request._replace(body=body[:wanted]))


@pytest.fixture
def hooked(tmp_path: Path) -> Hooked:
    return Hooked(tmp_path)


@pytest.mark.parametrize(
    ("target", "bearer"),
    [
        ("/events/uploads", f"Bearer {TOKEN}"),
        ("/events/uploads", f"bearer {TOKEN}"),
        (f"/events/uploads/{TOKEN}", None),
        (f"/events/uploads?token={TOKEN}", None),
        (f"/events/uploads?x=y&token={TOKEN}", "Bearer another"),
    ],
)
async def test_a_token_comes_in_any_of_the_ways_that_servers_know(
    hooked: Hooked, target: str, bearer: str | None
) -> None:
    assert (await hooked.post(target, bearer=bearer)).status == 200
    assert hooked.ears.keys == ["a b+c%20"]


@pytest.mark.parametrize(
    ("target", "bearer"),
    [
        ("/events/uploads", None),
        ("/events/uploads", "Bearer "),
        ("/events/uploads", f"Basic {TOKEN}"),
        ("/events/uploads", f"Bearer {TOKEN}x"),
        ("/events/uploads/", None),
        (f"/events/uploads/{TOKEN}/", None),
        ("/events/uploads?token=", None),
        (f"/events/uploads?tokens={TOKEN}", None),
    ],
)
async def test_without_the_token_nothing_is_read_and_nothing_is_heard(
    hooked: Hooked, target: str, bearer: str | None
) -> None:
    assert (await hooked.post(target, bearer=bearer)).status == 401
    assert hooked.ears.heard == []
    assert hooked.feed.messages == {"refused": 1}
    assert hooked.feed.heard_at is None


async def test_another_name_is_not_there(hooked: Hooked) -> None:
    for target in (f"/events/others/{TOKEN}", "/events/", f"/events//{TOKEN}"):
        assert (await hooked.post(target, bearer=f"Bearer {TOKEN}")).status == 404
    assert hooked.feed.messages == {}


async def test_bodies_are_read_of_posts_with_the_token_alone(hooked: Hooked) -> None:
    def wanted(method: bytes, path: bytes) -> int:
        peers = ("127.0.0.1", 1), ("127.0.0.1", 2)
        return hooked.webhooks.wanted(Request(method, path, b"", (), *peers, has_body=True))

    right = f"/events/uploads/{TOKEN}".encode()
    assert wanted(b"POST", right) == LARGEST_MESSAGE
    assert wanted(b"PUT", right) == 0
    assert wanted(b"POST", b"/events/uploads/wrong") == 0
    assert wanted(b"POST", b"/status.json") == 0


async def test_what_cannot_be_read_is_set_aside_and_not_asked_for_again(
    hooked: Hooked, tmp_path: Path
) -> None:
    # A server with a queue of its own would send what it is refused for ever.
    assert (await hooked.post(f"/events/uploads/{TOKEN}", b"poison")).status == 200
    assert kept(tmp_path) == {b"poison": 1}
    assert hooked.feed.messages == {"unreadable": 1}
