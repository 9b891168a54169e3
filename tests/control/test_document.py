"""The OpenAPI document: what it says of operations, their parameters and bodies."""

from typing import Any

import pytest

from seeder.admin.reloads import ReloadReport, Reloads
from seeder.control.document import openapi
from seeder.control.operations import (
    API_ROOT,
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    QueryObject,
)
from seeder.control.reloads import ReloadResource
from seeder.control.values import Duration, ListLimit


class Asked(QueryObject):
    """Which are asked for."""

    limit: ListLimit = 7
    """How many."""
    name: str
    """Whose."""


class Wanted(JsonObject):
    """What is wanted."""

    valid: Duration
    """How long."""
    other: list[str] | None = None


class Made(Wanted):
    """What was made."""

    at: int
    """When (Unix s)."""


async def act(_call: ApiCall[Asked, Wanted]) -> ApiAnswer:
    return ApiAnswer()


@pytest.fixture
def document() -> dict[str, Any]:
    operation: AnyOperation = ApiOperation(
        method="POST",
        template="/things/{bucket}/{+key}:make",
        name="makeThing",
        summary="Make a thing",
        query=Asked,
        body=Wanted,
        act=act,
        answers={201: Made, 204: None},
        problems={404: "There is none."},
    )
    return openapi([operation], "1.2")


def test_an_operation_is_told_whole(document: dict[str, Any]) -> None:
    [(path, methods)] = document["paths"].items()
    assert path == f"{API_ROOT}/things/{{bucket}}/{{key}}:make"
    told = methods["post"]
    assert (told["operationId"], told["summary"]) == ("makeThing", "Make a thing")
    bucket, key, limit, name = told["parameters"]
    assert [each["name"] for each in (bucket, key)] == ["bucket", "key"]
    assert all(each["in"] == "path" and each["required"] for each in (bucket, key))
    # A step has a name; the end of a path may be empty, as the prefix of a whole bucket is.
    assert (bucket["schema"].get("minLength"), key["schema"].get("minLength")) == (1, None)
    assert (limit["required"], limit["description"]) == (False, "How many.")
    assert limit["schema"] | {"title": ""} == {
        "title": "",
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 7,
    }
    assert (name["required"], name["description"]) == (True, "Whose.")
    answers = told["responses"]
    assert answers["201"]["headers"]["Location"]["required"]
    assert "content" not in answers["204"]
    assert answers["404"]["description"] == "There is none."
    assert list(answers["404"]["content"]) == ["application/problem+json"]
    for status in ("400", "401", "403", "413", "415", "421", "422", "429", "500", "503"):
        assert status in answers


def test_fields_are_described_by_their_docstrings(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    wanted, made = schemas["Wanted"], schemas["Made"]
    assert wanted["description"] == "What is wanted."
    assert wanted["additionalProperties"] is False
    assert wanted["properties"]["valid"]["type"] == "string"
    assert wanted["properties"]["valid"]["description"] == "How long."
    assert "description" not in wanted["properties"]["other"]
    assert wanted["required"] == ["valid"]
    # Those of what it is made of, too.
    assert made["properties"]["valid"]["description"] == "How long."
    assert made["properties"]["at"]["description"] == "When (Unix s)."


def test_what_takes_no_body_has_none() -> None:
    async def reload() -> ReloadReport:
        raise AssertionError("nobody asks for it")

    document = openapi(ReloadResource(Reloads(0), reload).operations(), "1.2")
    told = document["paths"][f"{API_ROOT}/reload"]["post"]
    assert "requestBody" not in told
    assert not {"413", "415"} & set(told["responses"])
