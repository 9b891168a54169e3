"""A queue of SQS: received from, deleted from, and what is received kept from others for a while.

By AWS's JSON protocol (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/),
with the same signatures and over the same transport as S3.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from seeder import __version__
from seeder.errors import AccessDenied, OriginError, OriginFault, OriginUnreachable, SignerRefused
from seeder.http.dates import parse_date
from seeder.s3.answers import Answer, printable
from seeder.s3.clock import SigningClock, is_of_another_time
from seeder.s3.credentials import CredentialStore, chain
from seeder.s3.signing import Endpoint, wire_request
from seeder.s3.transport import Broken, Exchange, Exchanges
from seeder.torrent.objects import Meter
from seeder.units import MIB

WAIT = 20
"""Seconds for which an empty queue lets us wait: SQS's longest."""
MOST_AT_ONCE = 10
"""Messages of one request: SQS's own limit."""
_CONNECT, _READ = 5.0, 30.0
_LARGEST_ANSWER = 24 * MIB
"""Bytes: so many messages of a MiB, each byte of which JSON may write as two."""
_CONNECTIONS = 4
_NO_RECEIPT = "none"
"""No message is received under it."""
_ADVICE = {
    "QueueDoesNotExist": "check the URL and the region",
    "NonExistentQueue": "check the URL and the region",
    "InvalidAddress": "check the URL",
    "KmsAccessDenied": "allow kms:Decrypt on the queue's key",
}
_OF_THE_SIGNER = {
    "InvalidClientTokenId": "check the access key: it is not known there",
    "UnrecognizedClientException": "check the access key: it is not known there",
    "InvalidAccessKeyId": "check the access key: it is not known there",
    "ExpiredToken": "renew the credentials: they have expired",
    "ExpiredTokenException": "renew the credentials: they have expired",
    "SignatureDoesNotMatch": "check the secret key and the region",
    "InvalidSignatureException": "check the secret key and the region",
    "IncompleteSignature": "check the secret key and the region",
    "RequestExpired": "set this machine's clock (NTP)",
    "RequestTimeTooSkewed": "set this machine's clock (NTP)",
}
"""What is wrong whatever is asked for."""
_OF_THE_CLOCK = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""Of what is signed for another time, among others."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_RENEWABLE = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message that was received: others don't get it for a while."""

    receipt: str
    """What it is deleted by."""
    body: str


class EventQueue:
    """One queue, by its URL, asked in one region with the credentials of a profile.

    `name` stands in texts. Any of its calls raises OriginError. They may run side by side.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        region: str,
        profile: str | None,
        ca_file: Path | None,
        meter: Meter,
        wall_clock: Callable[[], float],
    ) -> None:
        parts = urlsplit(url)
        host = parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")
        self._url = url
        self._endpoint = Endpoint(f"{parts.scheme}://{host}", host, "", region, "sqs")
        self._credentials = CredentialStore(name, lambda: chain(profile, region))
        self._exchanges = Exchanges(_CONNECTIONS, connect=_CONNECT, read=_READ, ca_file=ca_file)
        self._meter = meter
        self._clock = SigningClock(f"the queue of origin {name}", wall_clock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the credentials fresh until cancelled; then close the connections."""
        try:
            await self._credentials.run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await self._exchanges.aclose()

    async def receive(self, hidden: int) -> list[QueueMessage]:
        """Wait for messages, WAIT seconds at most; others don't get them for `hidden` seconds."""
        answer = await self._call(
            "ReceiveMessage",
            {
                "MaxNumberOfMessages": MOST_AT_ONCE,
                "WaitTimeSeconds": WAIT,
                "VisibilityTimeout": hidden,
            },
        )
        told = answer.get("Messages")
        return list(_messages(told)) if isinstance(told, list) else []

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages; one that is gone already is no error."""
        for some in _batches(receipts):
            entries = [
                {"Id": str(number), "ReceiptHandle": each} for number, each in enumerate(some)
            ]
            await self._call("DeleteMessageBatch", {"Entries": entries})

    async def hide(self, receipts: Sequence[str], seconds: int) -> None:
        """Keep messages from others for so many seconds more."""
        for some in _batches(receipts):
            entries = [
                {"Id": str(number), "ReceiptHandle": each, "VisibilityTimeout": seconds}
                for number, each in enumerate(some)
            ]
            await self._call("ChangeMessageVisibilityBatch", {"Entries": entries})

    async def try_actions(self) -> None:
        """Try everything that reading takes, and leave all messages as they are; OriginError.

        One message may be received, and isn't kept from others; deleting and hiding are tried on
        none.
        """
        asked = {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 0, "VisibilityTimeout": 0}
        await self._call("ReceiveMessage", asked)
        for action in ("DeleteMessage", "ChangeMessageVisibility"):
            seconds = {} if action == "DeleteMessage" else {"VisibilityTimeout": 0}
            # A fault is that there is no such message: whoever hears so is allowed to ask.
            with suppress(OriginFault):
                await self._call(action, {"ReceiptHandle": _NO_RECEIPT, **seconds})

    async def _call(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"QueueUrl": self._url, **asked}).encode()
        may_set_clock = may_renew = True
        while True:
            credentials, signed_for = await self._credentials.get(), self._clock.now()
            request = wire_request(
                "POST",
                self._endpoint,
                "",
                headers={
                    "Content-Type": "application/x-amz-json-1.0",
                    "X-Amz-Target": f"AmazonSQS.{action}",
                },
                unsigned={"User-Agent": f"seeder/{__version__}", "Accept-Encoding": "identity"},
                credentials=credentials,
                now=signed_for,
                body=body,
            )
            try:
                async with self._exchanges.exchange(
                    request, self._meter, "metainfo", seconds=WAIT + _READ, beside=True
                ) as exchange:
                    status, text = exchange.status, await _text_of(exchange)
                    told = parse_date(exchange.headers.get("date", ""))
            except Broken as broken:
                raise OriginUnreachable(
                    f"{broken}; check the queue's URL and the network"
                ) from None
            found = _document(text)
            if status == 200:
                if found is None:
                    raise OriginFault(f"{self._endpoint.host} answers 200 and no JSON: is it SQS?")
                return found
            code, said = _fault(status, found, text)
            if told is not None and code in _OF_THE_CLOCK and may_set_clock:
                may_set_clock = False
                if is_of_another_time(told, signed_for):
                    self._clock.follow(told)
                    continue
            if not (code in _RENEWABLE and may_renew):
                break
            may_renew = False
            if not await self._credentials.renew(credentials):
                break
        kind, advice = _meaning(action, status, code, is_json=found is not None)
        advice = f"; {advice}" if advice else ""
        raise kind(f"{self._endpoint.host} answers {said} to {action}{advice}")


def _batches(receipts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(receipts), MOST_AT_ONCE):
        yield receipts[start : start + MOST_AT_ONCE]


async def _text_of(exchange: Exchange) -> bytes:
    if exchange.status == 200:
        return await exchange.read(_LARGEST_ANSWER)
    return await exchange.read_error(MIB)


def _document(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fault(status: int, found: dict[str, Any] | None, text: bytes) -> tuple[str, str]:
    """Return the code of an error, and all that it says in half a line."""
    if found is None:
        # Servers before the queue speak XML, if anything that is known here.
        answer = Answer.read(status, {}, text)
        return answer.code, str(answer)
    code, told = found.get("__type", ""), found.get("message", found.get("Message", ""))
    # com.amazonaws.sqs#QueueDoesNotExist
    code = printable(code.rpartition("#")[2].rpartition(".")[2]) if isinstance(code, str) else ""
    said = f"{status} {code}" if code else str(status)
    if isinstance(told, str) and told:
        said += f": {printable(told).rstrip('.')}"
    return code, said


def _meaning(
    action: str, status: int, code: str, *, is_json: bool
) -> tuple[type[OriginError], str]:
    """Return whose fault an answer is, and what to do about it, if that is known."""
    if code in _OF_THE_SIGNER:
        return SignerRefused, _OF_THE_SIGNER[code]
    if code in _ADVICE:
        return OriginFault, _ADVICE[code]
    if code in _DENIED or status == 403:
        return AccessDenied, f"allow sqs:{action.removesuffix('Batch')} on the queue"
    if status >= 500 or status == 429:
        return OriginUnreachable, ""
    return OriginFault, "" if is_json else "is it SQS? check the URL"


def _messages(told: list[Any]) -> Iterator[QueueMessage]:
    for each in told[:MOST_AT_ONCE]:
        if isinstance(each, dict):
            receipt, body = each.get("ReceiptHandle"), each.get("Body")
            if isinstance(receipt, str) and receipt and isinstance(body, str):
                yield QueueMessage(receipt, body)
