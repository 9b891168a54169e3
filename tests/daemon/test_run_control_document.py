"""The OpenAPI document and the server: each operation is asked for as the document describes it,
and every answer is as it says.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from seeder.config.sections import Config
from tests.daemon.control_site import TOKEN, at_listener, bearer
from tests.daemon.support import served, serving, until

EXAMPLES = 6
"""Of each operation and kind."""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    token = tmp_path / "api.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    admin = config.admin.model_copy(update={"token_file": token})
    return config.model_copy(update={"admin": admin})


def try_all(document: dict[str, Any], url: str, mode: GenerationMode) -> int:
    """Ask for every operation; return for how many."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=bearer(TOKEN), checks=CHECKS)

        # Of what takes no query and no body, nothing can be said wrongly.
        with suppress(Unsatisfiable):
            ask()
            tried += 1
    return tried


async def test_every_operation_answers_as_the_document_says(config: Config) -> None:
    async with serving(config) as node, at_listener(node, TOKEN) as client:
        await until(lambda: served(node))
        document = (await client.get("/openapi.json")).json()
        operations = [each for path in document["paths"].values() for each in path.values()]
        take_more = [each for each in operations if "requestBody" in each or takes_query(each)]
        base = f"http://{node.admin_address}"
        for mode, least in (
            (GenerationMode.POSITIVE, len(operations)),
            (GenerationMode.NEGATIVE, len(take_more)),
        ):
            tried = await trio.to_thread.run_sync(partial(try_all, document, base, mode))
            assert tried >= least > 5
        assert (await client.get("/status")).json()["ready"] is True


def takes_query(operation: dict[str, Any]) -> bool:
    return any(each["in"] == "query" for each in operation["parameters"])
