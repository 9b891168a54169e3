"""The table `calls` of tests.benchmarks.origin: CPU a call to S3, and httpx.AsyncClient's share.

    python -m tests.benchmarks.calls URL [--length BYTES] --count N

makes N calls one after the other over one connection, HEADs or GETs of ranges of --length bytes, in
each of two ways: as the seeder does it, and past AsyncClient.send(), straight to the transport
below it. The ways take turns after every few calls. Prints the microseconds of CPU that a call
takes in each, medians of these turns, as JSON.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import httpx
import trio

from seeder.config.origins import OriginSettings
from seeder.s3.client import S3Origin
from seeder.torrent.objects import ObjectRef
from seeder.units import KIB, MIB, ByteRange
from tests.benchmarks.readers import Uncounted
from tests.benchmarks.setup import Setup, http_origin, show
from tests.support.processes import Child, python_environment

_CALLS = {"HEAD": (None, 2000), "GET of 64 KiB": (64 * KIB, 2000), "GET of 8 MiB": (8 * MIB, 200)}
"""By name: the length of the range, None for a HEAD, and how many are made in each way."""
_TURN = 10
"""Calls."""


def run(setup: Setup) -> None:
    """Make each kind of call in both ways, in turns; print the medians."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with http_origin(setup.content.parent, setup.directory / "origin.log") as endpoint:
        url = f"{endpoint}/bucket/{setup.content.name}"
        for _ in range(setup.rounds):
            for name, (length, count) in _CALLS.items():
                for way, cost in _measure(setup, url, length, count).items():
                    found[name, way].append(cost)
    rows = []
    for name in _CALLS:
        client, past = (median(found[name, way]) for way in ("client", "past it"))
        added = f"{client - past:.0f}", f"{client / past - 1:.1%}"
        rows.append((name, f"{client:.0f}", f"{past:.0f}", *added))
    title = "calls: CPU us a call to a plain HTTP origin, one after the other over one connection"
    show(title, ["", "by AsyncClient", "past it", "it adds us", "it adds"], rows)


def _measure(setup: Setup, url: str, length: int | None, count: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "tests.benchmarks.calls", url, "--count", str(count)]
    argv += [] if length is None else ["--length", str(length)]
    log = setup.directory / "calls.log"
    log.unlink(missing_ok=True)
    with Child(argv, log=log, env=python_environment()) as child:
        if child.wait(300):
            raise child.failure("the calls failed")
        told: dict[str, float] = json.loads(child.output())
        return told


async def _past_the_client(
    client: httpx.AsyncClient, request: httpx.Request, *, stream: bool
) -> httpx.Response:
    assert stream
    request.extensions = {**request.extensions, "timeout": client.timeout.as_dict()}
    return await client._transport.handle_async_request(request)


async def _call(url: str, length: int | None, count: int) -> None:
    endpoint, bucket, key = url.rsplit("/", 2)
    settings = OriginSettings(endpoint=endpoint, path_style=True, anonymous=True, connections=1)
    origin, meter = S3Origin(settings, rng=random.Random(1)), Uncounted()
    ref = ObjectRef("default", bucket, key)
    ways = {"client": httpx.AsyncClient.send, "past it": _past_the_client}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.run)
        pinned = await origin.head(ref, meter)
        for _ in range(count // _TURN):
            for way, send in ways.items():
                httpx.AsyncClient.send = send  # type: ignore[method-assign,assignment]
                began = time.process_time()
                for _ in range(_TURN):
                    if length is None:
                        await origin.head(ref, meter)
                    else:
                        await origin.read_range(pinned, ByteRange(0, length), meter, "pieces")
                costs[way].append((time.process_time() - began) / _TURN * 1e6)
        nursery.cancel_scope.cancel()
    print(json.dumps({way: median(turns) for way, turns in costs.items()}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--length", type=int)
    parser.add_argument("--count", type=int, required=True)
    chosen = parser.parse_args(arguments)
    trio.run(_call, chosen.url, chosen.length, chosen.count)


if __name__ == "__main__":
    main()
