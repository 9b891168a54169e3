"""The table `tls` of tests.benchmarks.origin: CPU a GB of reading from a TLS origin."""

from collections import defaultdict
from statistics import median

from tests.benchmarks import readers
from tests.benchmarks.readers import Reading
from tests.benchmarks.setup import Setup, http_origin, show, write_certificate
from tests.support.objects import MIB

_RANGES = (8 * MIB, MIB)
_ROWS = {
    "httpx-raw": "httpx, aiter_raw, thrown away",
    "httpx": "httpx, get().content",
    "ours": "ours, read_range",
    "ours-verified": "ours, in pieces of 1 MiB, checked by SHA-1",
}


def run(setup: Setup) -> None:
    """Read the object in each way and by each size of range, in turns; print the medians."""
    certificate = write_certificate(setup.directory / "tls.pem")
    found: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    log = setup.directory / "origin.log"
    with http_origin(setup.content.parent, log, tls=certificate) as endpoint:
        for _ in range(setup.rounds):
            for length in _RANGES:
                for kind in _ROWS:
                    reading = readers.measure(
                        kind,
                        f"{endpoint}/bucket/{setup.content.name}",
                        setup.size,
                        range_length=length,
                        connections=setup.connections,
                        directory=setup.directory,
                        ca_file=certificate,
                        content=setup.content,
                    )
                    found[kind, length].append(reading)

    def cost(kind: str, length: int) -> float:
        return median(reading.cpu_per_gb for reading in found[kind, length])

    def cell(kind: str, length: int) -> str:
        rate = median(reading.rate for reading in found[kind, length])
        return f"{cost(kind, length):.2f} / {rate:.0f}"

    rows = [(name, *(cell(kind, length) for length in _RANGES)) for kind, name in _ROWS.items()]
    ratios = (f"{cost('ours', length) / cost('httpx-raw', length):.2f}" for length in _RANGES)
    rows.append(("ours / httpx, aiter_raw", *ratios))
    title = f"tls: CPU-s per GB of the reader / MB/s, {setup.connections} connections, TLS 1.3"
    show(title, ["", *(f"ranges of {length // MIB} MiB" for length in _RANGES)], rows)
