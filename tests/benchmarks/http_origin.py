"""An S3 origin that costs little: GET of ranges and HEAD of files in one directory, HTTP or HTTPS.

    python -m tests.benchmarks.http_origin ADDRESS:PORT DIRECTORY [--tls PEM]
        [--delay NAME SECONDS] [--rate BYTES]

One process, a thread a connection, and a write a range out of a mapped file: what it serves is
limited by the kernel and by OpenSSL, not by Python. It knows neither buckets nor signatures;
`/BUCKET/NAME` is the file NAME.
"""

import argparse
import contextlib
import mmap
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h11

_READ = 64 * 1024
_PACED = 128 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """What is served: mapped files by name, seconds before each answer by name, a rate.

    The rate is in bytes a second, for each connection; None for as fast as it goes.
    """

    bodies: dict[str, mmap.mmap]
    delays: dict[str, float]
    rate: float | None


def _serve(stream: socket.socket, context: ssl.SSLContext | None, files: Files) -> None:
    """Answer one connection's requests until it ends."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(stream))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            stream = stack.enter_context(context.wrap_socket(stream, server_side=True))
        parser = h11.Connection(h11.SERVER)
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = stream.recv(_READ)
                if not data:
                    return
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                _answer(stream, event, files)
                # The answer's bytes are ours: only the requests go through the parser.
                rest = parser.trailing_data[0]
                parser = h11.Connection(h11.SERVER)
                if rest:
                    parser.receive_data(rest)
            elif isinstance(event, h11.ConnectionClosed):
                return


def _answer(stream: socket.socket, request: h11.Request, files: Files) -> None:
    name = request.target.decode().rpartition("/")[2]
    body = files.bodies.get(name)
    time.sleep(files.delays.get(name, 0.0))
    if body is None:
        stream.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        return
    start, stop = 0, len(body)
    status = "200 OK"
    for field, value in request.headers:
        if field == b"range":
            first, _, last = value.decode().removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1
            status = f"206 Partial Content\r\ncontent-range: bytes {first}-{last}/{len(body)}"
    head = f'HTTP/1.1 {status}\r\netag: "{name}"\r\ncontent-length: {stop - start}\r\n\r\n'
    stream.sendall(head.encode())
    if request.method == b"GET":
        with memoryview(body) as view, view[start:stop] as wanted:
            _send(stream, wanted, files.rate)


def _send(stream: socket.socket, body: memoryview, rate: float | None) -> None:
    if rate is None:
        stream.sendall(body)
        return
    began = time.monotonic()
    for at in range(0, len(body), _PACED):
        time.sleep(max(0.0, began + at / rate - time.monotonic()))
        stream.sendall(body[at : at + _PACED])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address", help="ADDRESS:PORT to listen on")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tls", type=Path, help="certificate and key, for HTTPS")
    parser.add_argument(
        "--delay", nargs=2, action="append", default=[], metavar=("NAME", "SECONDS")
    )
    parser.add_argument("--rate", type=float, help="bytes a second for each connection")
    chosen = parser.parse_args(arguments)
    bodies = {}
    for path in chosen.directory.iterdir():
        with path.open("rb") as file:
            bodies[path.name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    delays = {name: float(seconds) for name, seconds in chosen.delay}
    files = Files(bodies, delays, chosen.rate)
    context = None
    if chosen.tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chosen.tls)
    host, _, port = chosen.address.rpartition(":")
    with socket.create_server((host, int(port)), backlog=512) as listener:
        print("listening", flush=True)
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=_serve, args=(stream, context, files), daemon=True).start()


if __name__ == "__main__":
    main()
