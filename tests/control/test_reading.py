"""What a request says, read as its operation's models have it; for all else there is a problem."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from seeder.control.operations import (
    ApiAnswer,
    ApiCall,
    ApiMethod,
    ApiOperation,
    JsonObject,
    Nothing,
    Problem,
    QueryObject,
)
from seeder.control.reading import read_body, read_query
from seeder.control.values import Duration, ListLimit
from seeder.http.messages import Request


class Page(QueryObject):
    limit: ListLimit = 100
    name: str | None = None


class Inner(JsonObject):
    count: int


class Wanted(JsonObject):
    valid: Duration = 5.0
    inner: list[Inner] = Field(default_factory=list)


async def act(_call: ApiCall[Nothing, Wanted]) -> ApiAnswer:
    return ApiAnswer()


def operation(method: ApiMethod = "POST", body: type[JsonObject] = Wanted) -> Any:
    return ApiOperation(
        method=method,
        template="/things",
        name="x",
        summary="",
        query=Nothing,
        body=body,
        act=act,
        answers={200: None},
    )


def request(body: bytes = b"", query: bytes = b"", kind: bytes = b"application/json") -> Request:
    headers = [(b"content-type", kind)]
    peers = ("127.0.0.1", 1), ("127.0.0.1", 2)
    return Request(b"POST", b"/", query, headers, *peers, has_body=bool(body), body=body)


def refusal_of(body: object, status: int) -> Problem:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Problem) as refused:
        read_body(operation(), request(raw))
    assert refused.value.status == status
    return refused.value


def problem_with(read: Callable[[], object]) -> Problem | None:
    try:
        read()
    except Problem as problem:
        return problem
    return None


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_a_problem(raw: bytes) -> None:
    for found in (
        problem_with(lambda: read_body(operation(), request(raw))),
        problem_with(lambda: read_query(Page, request(query=raw))),
    ):
        assert found is None or (400 <= found.status < 500 and found.detail)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_whatever_json_comes_is_told_by_its_place(value: object) -> None:
    raw = json.dumps({"inner": [{"count": value}]}).encode()
    found = problem_with(lambda: read_body(operation(), request(raw)))
    assert found is not None
    nan = found.status == 400 and "a number" in found.detail
    assert nan or found.detail.startswith("inner[0].count: ")


def test_every_mistake_is_told_with_its_place() -> None:
    refused = refusal_of({"inner": [{"count": "1"}, {}], "valid": "x", "zzz": 1}, 422)
    assert [line.partition(":")[0] for line in refused.errors] == [
        "valid",
        "inner[0].count",
        "inner[1].count",
        "zzz",
    ]
    assert refused.detail == refused.errors[0]


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_what_is_no_object_where_one_is_wanted_is_told_in_our_words(value: object) -> None:
    assert refusal_of(value, 422).detail == "the body: want a JSON object"
    assert refusal_of({"inner": [value]}, 422).detail == "inner[0]: want a JSON object"


@pytest.mark.parametrize("value", [True, "1", 1.5, None, [], 2**63])
def test_no_value_is_taken_for_another(value: object) -> None:
    assert refusal_of({"inner": [{"count": value}]}, 400 if value == 2**63 else 422)


@pytest.mark.parametrize("value", ["5", 5, 5.0, "-5s", "1ms", "2y", "nan", "999999d", None, ""])
def test_a_time_is_written_as_in_the_configuration(value: object) -> None:
    assert refusal_of({"valid": value}, 422)


def test_a_time_is_read() -> None:
    assert read_body(operation(), request(b'{"valid": "1h30m"}')).valid == 5400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=1_0", "limit=+1", "limit= 1", "limit=1.0", "limit="]
)
def test_a_number_of_a_query_is_digits(query: str) -> None:
    with pytest.raises(Problem, match=r"^limit: ") as refused:
        read_query(Page, request(query=query.encode()))
    assert refused.value.status == 400


def test_a_query_is_decoded() -> None:
    read = read_query(Page, request(query=b"name=a%2Fb%20c+d&limit=7"))
    assert (read.name, read.limit) == ("a/b c+d", 7)


def test_a_patch_may_say_that_it_is_one() -> None:
    body = request(b"{}", kind=b"application/merge-patch+json")
    assert read_body(operation("PATCH"), body) == Wanted()
    with pytest.raises(Problem) as refused:
        read_body(operation("POST"), body)
    assert refused.value.status == 415
    assert read_body(operation(), request(b"{}", kind=b"Application/JSON; charset=utf-8"))
