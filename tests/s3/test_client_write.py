"""A small object is put in the place of what was there, or of nothing, and of nothing else."""

import pytest

from seeder.errors import AccessDenied, ObjectChanged, OriginFault
from seeder.s3.client import S3Origin
from tests.s3.fault_server import FaultServer, answer
from tests.s3.samples import REF
from tests.s3.support import CountingMeter

BODY = b"d4:infode"


@pytest.mark.parametrize(
    ("etag", "condition"), [(None, ("if-none-match", "*")), ('"tag"', ("if-match", '"tag"'))]
)
async def test_a_put_is_made_on_condition(
    faults: FaultServer,
    origin: S3Origin,
    meter: CountingMeter,
    etag: str | None,
    condition: tuple[str, str],
) -> None:
    faults.script(answer(200), answer(200, BODY))
    await origin.write_small(REF, BODY, meter, instead_of=etag, mark="m")
    seen = faults.seen[0]
    assert len([each for each in faults.seen if each.method == "PUT"]) == 1
    name, value = condition
    assert seen.method == "PUT"
    assert seen.headers[name] == value
    assert seen.headers["x-amz-meta-seeder"] == "m"
    assert seen.headers["content-length"] == str(len(BODY))
    assert name in seen.headers["authorization"]  # it is signed
    assert origin.statistics().operations["PutObject", "ok"] == 1


async def test_who_was_faster_wins(
    faults: FaultServer, origin: S3Origin, meter: CountingMeter
) -> None:
    faults.script(answer(412, b"<Error><Code>PreconditionFailed</Code></Error>"))
    with pytest.raises(ObjectChanged):
        await origin.write_small(REF, BODY, meter, instead_of=None, mark="m")
    assert len(faults.seen) == 1


async def test_a_server_that_knows_no_conditions_is_asked_without(
    faults: FaultServer, origin: S3Origin, meter: CountingMeter
) -> None:
    faults.script(answer(501, b"<Error><Code>NotImplemented</Code></Error>"), answer(200))
    await origin.write_small(REF, BODY, meter, instead_of=None, mark="m")
    assert "if-none-match" not in faults.seen[1].headers


async def test_a_put_that_is_answered_and_not_done_is_made_without_a_condition(
    faults: FaultServer, origin: S3Origin, meter: CountingMeter
) -> None:
    faults.script(answer(200), answer(200, b"before", ETag='"tag"'), answer(200))
    await origin.write_small(REF, BODY, meter, instead_of='"tag"', mark="m")
    assert [seen.method for seen in faults.seen] == ["PUT", "GET", "PUT"]
    assert "if-match" not in faults.seen[2].headers


async def test_what_is_refused_names_the_right_that_it_takes(
    faults: FaultServer, origin: S3Origin, meter: CountingMeter
) -> None:
    faults.script(answer(403, b"<Error><Code>AccessDenied</Code></Error>"))
    with pytest.raises(AccessDenied, match=r"allow s3:PutObject on it, or leave write_sidecar out"):
        await origin.write_small(REF, BODY, meter, instead_of=None, mark="m")
    faults.script(answer(405, b"<Error><Code>MethodNotAllowed</Code></Error>"))
    with pytest.raises(OriginFault):
        await origin.write_small(REF, BODY, meter, instead_of=None, mark="m")
    assert origin.statistics().reachable
