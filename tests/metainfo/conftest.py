"""The fixtures of the tests of S3: metainfo is made from what an origin says."""

from tests.s3.conftest import aws, faults, make_origin, meter, origin

__all__ = ["aws", "faults", "make_origin", "meter", "origin"]  # fixtures
