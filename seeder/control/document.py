"""The OpenAPI document, made of the operations themselves (OpenAPI 3.1)."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from seeder.control.descriptions import describe, describe_fields
from seeder.control.operations import API_ROOT, AnyOperation, JsonObject, Nothing

JsonDocument: TypeAlias = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"
_COMMON: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "The request can't be read.",
    HTTPStatus.UNAUTHORIZED: "By TCP: the token is missing or wrong.",
    HTTPStatus.FORBIDDEN: "By TCP: no token is configured, or the page of another site asks.",
    HTTPStatus.MISDIRECTED_REQUEST: "By TCP: the host is none of ours.",
    HTTPStatus.TOO_MANY_REQUESTS: "By TCP: too many wrong tokens came from this network.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the seeder's own; its log says more.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The node is starting or stopping.",
}
_OF_BODY: Mapping[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body has more than 1 MiB.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not said to be JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The body says something that can't be.",
}


class ProblemObject(JsonObject):
    """Why something wasn't done (RFC 9457)."""

    title: str
    """The name of the status."""
    status: int
    detail: str
    """One line that says what to do instead."""
    errors: list[str] | None = None
    """Every mistake, where there are several."""


def openapi(operations: Sequence[AnyOperation], version: str) -> JsonDocument:
    """Return the document of the operations; `version` is the seeder's."""
    models = [*_models(operations), (ProblemObject, "serialization")]
    references, definitions = models_json_schema(models, ref_template=_REFERENCE)
    schemas = definitions.get("$defs", {})
    describe(schemas, (model for model, _ in models))
    paths: JsonDocument = {}
    for each in operations:
        path = paths.setdefault(API_ROOT + each.template.replace("{+", "{"), {})
        path[each.method.lower()] = _operation(each, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "seeder",
            "version": version,
            "summary": "The control API of a running seeder",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "By TCP; the UNIX socket needs none.",
                }
            },
        },
    }


def _models(operations: Sequence[AnyOperation]) -> list[Any]:
    """Return all models with what they are for: "validation" of what comes, or what goes out."""
    found: dict[tuple[type[BaseModel], str], None] = {}
    for each in operations:
        if each.has_body:
            found[each.body, "validation"] = None
        for model in each.answers.values():
            if model is not None:
                found[model, "serialization"] = None
    return list(found)


def _operation(operation: AnyOperation, references: Any) -> JsonDocument:
    made: JsonDocument = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.template.strip("/").partition("/")[0].partition("{")[0] or "node"],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {str(status): made for status, made in _responses(operation, references)},
    }
    if operation.has_body:
        content = {"schema": references[operation.body, "validation"]}
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    return made


def _path_parameters(operation: AnyOperation) -> Iterator[JsonDocument]:
    for part in operation.template.split("{")[1:]:
        written = part.partition("}")[0]
        name = written.lstrip("+")
        # What may have slashes may be nothing at all, too, as the prefix of a whole bucket.
        schema = {"type": "string"} if name != written else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: AnyOperation) -> Iterator[JsonDocument]:
    if operation.query is Nothing:
        return
    whole = operation.query.model_json_schema(ref_template=_REFERENCE)
    describe_fields(operation.query, whole)
    for name, schema in whole["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in whole.get("required", ())}
        text = schema.pop("description", None)
        yield parameter | ({"description": text} if text else {}) | {"schema": schema}


def _responses(operation: AnyOperation, references: Any) -> Iterator[tuple[int, JsonDocument]]:
    for status, model in operation.answers.items():
        answer: JsonDocument = {"description": HTTPStatus(status).phrase}
        if model is not None:
            schema = references[model, "serialization"]
            answer["content"] = {"application/json": {"schema": schema}}
        if status == HTTPStatus.CREATED:
            answer["headers"] = {"Location": {"schema": {"type": "string"}, "required": True}}
        yield status, answer
    problem = {"application/problem+json": {"schema": references[ProblemObject, "serialization"]}}
    refusals: dict[int, str] = dict(_COMMON)
    if operation.has_body:
        refusals.update(_OF_BODY)
    refusals.update(operation.problems)
    for status, why in refusals.items():
        yield status, {"description": why, "content": problem}
