"""A body in parts arrives as it is, whatever the parts are and however little a socket takes."""

import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.http.parts import BodyParts

parts = st.lists(st.one_of(st.binary(max_size=9), st.just(bytes(200_000))), max_size=9)


@given(parts, st.data())
def test_parts_are_sent_in_their_order_whatever_is_taken_of_an_offer(
    written: list[bytes], data: st.DataObject
) -> None:
    body, whole = BodyParts(written), b"".join(written)
    assert body.length == len(whole)

    async def take() -> bytes:
        taken = b""
        while offered := b"".join(await body.offer()):
            assert len(offered) <= 500_000
            count = data.draw(st.integers(0, len(offered)) | st.just(len(offered)))
            taken += offered[:count]
            body.took(count)
        return taken

    assert trio.run(take) == whole


def test_no_offer_has_more_views_than_a_call_of_the_system_takes() -> None:
    body = BodyParts([b"x"] * 5000)
    assert len(trio.run(body.offer)) <= 1024


def test_what_is_closed_offers_nothing() -> None:
    body = BodyParts([b"left"])
    body.close()
    body.close()
    assert trio.run(body.offer) == []
