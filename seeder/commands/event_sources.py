"""How the sources of events stand: what calls a webhook, and whether a queue can be read."""

from collections.abc import Iterator
from functools import partial

import trio

from seeder.commands.findings import Findings
from seeder.config.events import EventSettings
from seeder.config.sections import Config
from seeder.daemon.events import make_queue
from seeder.daemon.tasks import running
from seeder.errors import OriginError
from seeder.net.addresses import HostPort, parse_ip


def explain_webhooks(config: Config) -> Iterator[str]:
    """Yield a line for each: where the S3 server calls it, and with which token."""
    addresses = " or ".join(dict.fromkeys(map(_reached_at, config.admin.listen)))
    for each in config.events:
        if not each.has_token:
            continue
        if each.token_file is not None:
            token = f"the token in {each.token_file}"
        else:
            token = f"the token of the credential {each.token_credential}"
        yield (
            f"events: {each.name}: the S3 server is to POST to /events/{each.name} at {addresses},"
            f' with {token}: as "Authorization: Bearer TOKEN", or ?token=TOKEN in the URL'
        )


def _reached_at(address: HostPort) -> str:
    """Return an address of the admin listener as others reach it."""
    try:
        ip = parse_ip(address.host)
    except ValueError:
        return f"http://{address}"
    if ip.is_unspecified:
        return f"http://HOST:{address.port} (HOST: an address of this machine)"
    alone = " (from this machine alone: see admin.listen)" if ip.is_loopback else ""
    return f"http://{address}{alone}"


async def tell_queues(config: Config, findings: Findings) -> int:
    """Try to read each queue, and tell a line of it; return how many can't be read.

    No message is taken from anybody: one may be received, and is there for others at once.
    """
    faults: dict[str, OriginError | None] = {}

    async def ask(settings: EventSettings, url: str) -> None:
        queue = make_queue(config.origins[settings.origin], settings, url)
        faults[settings.name] = None
        async with running(queue.run):
            try:
                await queue.try_actions()
            except OriginError as error:
                faults[settings.name] = error

    async with trio.open_nursery() as nursery:
        for each in config.events:
            if each.sqs is not None:
                nursery.start_soon(partial(ask, each, each.sqs))
    for each in config.events:
        if each.name not in faults:
            continue
        if (error := faults[each.name]) is None:
            told = "ok, its messages may be received, deleted and hidden"
            findings.note(f"events: {each.name}: {told}")
        else:
            findings.fault(f"events: {each.name}: {error}")
    return sum(error is not None for error in faults.values())
