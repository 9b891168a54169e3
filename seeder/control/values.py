"""Values that several resources take, each with how it stands in JSON or in a query."""

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from seeder.units import parse_time


def _whole(value: object) -> object:
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise ValueError("want a whole number")
        return int(value)
    return value


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('want a time such as "30m" or "7d"')
    seconds = parse_time(value)
    if seconds < 1:
        raise ValueError('want a time of at least "1s"')
    return seconds


ListLimit = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)]
"""How many of a list a query asks for."""
Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "examples": ["30m", "7d"]}),
]
"""Seconds, written as in the configuration."""
