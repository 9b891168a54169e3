"""Help for the tests of the configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from seeder.config.sections import Config
from seeder.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config" / "seeder.toml"
ONE_OBJECT = '[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n'
QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/uploads"

Load: TypeAlias = Callable[[str], Config]


def problems_of(read: Load, text: str) -> tuple[str, ...]:
    """Return the problems that a configuration is refused for."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    problems = caught.value.problems
    assert problems
    assert all(line and line.isprintable() for line in problems)
    return problems


def only_problem(read: Load, text: str) -> str:
    (problem,) = problems_of(read, text)
    return problem
