"""moto as an S3 and SQS server, on a port of its own in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer


@contextmanager
def moto_server(address: str = "127.0.0.1") -> Iterator[str]:
    """Run an empty server for the length of the block; return its URL.

    All servers of a process share what they have, so it ends what another one's tests have left.
    """
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=60).close()
        yield url
    finally:
        server.stop()
