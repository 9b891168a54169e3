"""[[events]]: where S3 says that something has happened to its objects."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ValidationInfo, field_validator

from seeder.config.fields import AnyPath, Credential, Settings, checked, source_of, text
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.texts import check_queue, one_of

_AWS_QUEUE = re.compile(
    r"(?:[a-z0-9-]+\.)*(?:sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)|(?P<old>[a-z0-9-]+)\.queue)"
    r"\.(?:vpce\.)?(?:amazonaws\.com|localhost\.localstack\.cloud)(?:\.cn)?"
)


class EventSettings(Settings):
    """[[events]]: a queue of SQS, or a webhook that the S3 server calls.

    It has either `sqs` or a token; `seeder.config.combinations` checks that. A webhook's token is
    in a file or a systemd credential, which `seeder.events.tokens` reads.
    """

    name: Annotated[str, text("[A-Za-z0-9._-]+", "a name of letters, digits, . _ -", 100)]
    """What the log calls it; a webhook is called at /events/NAME."""
    origin: str = DEFAULT_ORIGIN
    """Whose buckets it tells of."""
    sqs: Annotated[str, checked(check_queue)] | None = None
    """The URL of the queue; it is asked with the origin's credentials."""
    region: Annotated[str, text("[A-Za-z0-9._-]+", "a region's name")] | None = None
    """Of the queue; None is the one in its URL, or else the origin's."""
    token_file: AnyPath | None = None
    token_credential: Credential | None = None

    @property
    def queue_region(self) -> str | None:
        """The region that the queue is asked for in, if the entry tells it."""
        if self.region is not None or self.sqs is None:
            return self.region
        found = _AWS_QUEUE.fullmatch(urlsplit(self.sqs).hostname or "")
        return None if found is None else found["region"] or found["old"]

    @property
    def has_token(self) -> bool:
        """Whether a token is named, as every webhook has one."""
        return self.token_file is not None or self.token_credential is not None

    @field_validator("origin", mode="before")
    @classmethod
    def _known_origin(cls, name: object, info: ValidationInfo) -> object:
        source = source_of(info)
        return one_of(str(name), sorted(source.origins)) if source else name

    @field_validator("token_credential")
    @classmethod
    def _one_token(cls, credential: str | None, info: ValidationInfo) -> str | None:
        if credential is not None and info.data.get("token_file") is not None:
            raise ValueError("want either a token_file or a token_credential, not both")
        return credential
