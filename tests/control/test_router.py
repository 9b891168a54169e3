"""Which operation a request asks for, and what its path names."""

from typing import cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.control.operations import ApiAnswer, ApiCall, ApiMethod, ApiOperation, Nothing, Problem
from seeder.control.router import Router


async def act(_call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
    return ApiAnswer()


def router(*places: str) -> Router:
    """Return a router of such as "GET /bans"."""
    made = []
    for place in places:
        method, _, template = place.partition(" ")
        made.append(
            ApiOperation(
                method=cast(ApiMethod, method),
                template=template,
                name=place,
                summary="",
                query=Nothing,
                body=Nothing,
                act=act,
                answers={200: None},
            )
        )
    return Router(made)


OBJECTS = router(
    "GET /objects",
    "GET /objects/{bucket}/{+key}",
    "DELETE /objects/{bucket}/{+key}",
    "POST /objects/{bucket}/{+key}:warm",
)


@given(st.text(min_size=1), st.text(min_size=1), st.booleans())
def test_a_name_comes_back_as_it_was_whether_its_slashes_are_encoded(
    bucket: str, key: str, slashed: bool
) -> None:
    path = f"/api/v1/objects/{quote(bucket, safe='')}/{quote(key, safe='/' if slashed else '')}"
    operation, names = OBJECTS.find(b"DELETE", path.encode())
    assert operation.name == "DELETE /objects/{bucket}/{+key}"
    assert names == {"bucket": bucket, "key": key}
    operation, names = OBJECTS.find(b"POST", f"{path}:warm".encode())
    assert operation.name == "POST /objects/{bucket}/{+key}:warm"
    assert names == {"bucket": bucket, "key": key}


def test_a_head_is_asked_for_as_a_get() -> None:
    assert OBJECTS.find(b"HEAD", b"/api/v1/objects")[0].name == "GET /objects"


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("PUT", "/api/v1/objects/b/k", 405, "this takes GET, HEAD, DELETE"),
        ("HEAD", "/api/v1/objects/b/k:warm", 405, "this takes POST"),
        ("GET", "/api/v1/objects/b/a:b", 404, "a colon in a name is written %3A"),
        ("GET", "/api/v1/objects/", 404, "openapi.json"),
        ("GET", "/api/v2", 404, "openapi.json"),
        ("GET", "/api/v1/objects/b/%ff", 400, "UTF-8"),
        ("GET", "/api/v1/objects/b/%f", 400, "percent-encoding"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    method: str, path: str, status: int, told: str
) -> None:
    with pytest.raises(Problem, match=told) as refused:
        OBJECTS.find(method.encode(), path.encode())
    assert refused.value.status == status


def test_no_two_operations_have_one_place() -> None:
    with pytest.raises(AssertionError):
        router("GET /bans", "GET /bans")
