"""What the docstrings below the fields of models say, for the OpenAPI document.

pydantic would read the source of every model at the start; this does when the document is wanted.
"""

import ast
import inspect
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

from pydantic import BaseModel

from seeder.control.operations import JsonObject


def describe(schemas: dict[str, Any]) -> None:
    """Add what is said of the fields to the schemas of models, which are given by their names."""
    models = {each.__name__: each for each in _below(JsonObject)}
    for name, schema in schemas.items():
        model = models.get(name.partition("-")[0])
        if model is not None:
            describe_fields(model, schema)


def describe_fields(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Add what is said of a model's fields to its schema."""
    for each in reversed(model.__mro__):
        if not (issubclass(each, JsonObject) and each is not JsonObject):
            continue
        for name, text in _docstrings(each):
            alias = each.model_fields[name].alias or name
            schema["properties"][alias].setdefault("description", text)


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=said)):
                yield name, inspect.cleandoc(str(said))


def _below(model: type[JsonObject]) -> Iterator[type[JsonObject]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)
