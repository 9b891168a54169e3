"""[origin] and [origins.NAME]: the S3 servers that objects are read from."""

from typing import Annotated

from pydantic import ValidationInfo, field_validator

from seeder.config.fields import ExistingFile, Settings, Token, checked, count, text
from seeder.config.texts import check_endpoint

DEFAULT_ORIGIN = "default"


class OriginSettings(Settings):
    """[origin] or [origins.NAME]: one S3 server and how to ask it. Credentials are not here."""

    name: str = DEFAULT_ORIGIN
    endpoint: Annotated[str, checked(check_endpoint)] | None = None
    """Without a trailing slash; None is AWS, by region."""
    region: Annotated[str, text("[A-Za-z0-9._-]+", "a region's name")] = "us-east-1"
    path_style: bool = False
    anonymous: bool = False
    profile: Token | None = None
    request_payer: bool = False
    expected_bucket_owner: Token | None = None
    # Each may hold a range of 8 MiB in memory.
    connections: Annotated[int, count(1, 32)] = 16
    ca_file: ExistingFile | None = None

    @field_validator("profile")
    @classmethod
    def _one_way_to_sign(cls, profile: str | None, info: ValidationInfo) -> str | None:
        if profile is not None and info.data.get("anonymous"):
            raise ValueError("want either anonymous = true or a profile, not both")
        return profile
