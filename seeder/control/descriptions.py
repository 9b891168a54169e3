"""What the docstrings below the fields of models say, for the OpenAPI document.

pydantic would read the source of every model at the start; this does when the document is wanted.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator
from textwrap import dedent
from typing import Any, get_args

from pydantic import BaseModel

from seeder.control.operations import JsonObject


def describe(schemas: dict[str, Any], models: Iterable[type[BaseModel]]) -> None:
    """Add what is said of the fields to the schemas, by the names of the models and of those that
    they are made of.
    """
    named = {each.__name__: each for each in _reached(models)}
    for name, schema in schemas.items():
        describe_fields(named[name.partition("-")[0]], schema)


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


def _reached(models: Iterable[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return the models, and those of their fields."""
    found: set[type[BaseModel]] = set()
    left: list[object] = list(models)
    while left:
        each = left.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            if each not in found:
                found.add(each)
                left += [field.annotation for field in each.model_fields.values()]
        else:
            left += get_args(each)
    return found
