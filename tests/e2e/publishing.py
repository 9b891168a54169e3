"""What tests say to a daemon and ask of it: an origin, an object's torrent, an announce."""

from typing import Any
from urllib.parse import quote, quote_from_bytes

from bencode2 import bdecode, bencode

from tests.e2e.daemon import SeederDaemon
from tests.e2e.server import Server
from tests.support.objects import Torrent
from tests.support.processes import HarnessError, poll_until


def origin(server: Server, **further: object) -> dict[str, object]:
    """Return the section [origin] for a server that knows no virtual hosts."""
    return {"endpoint": server.endpoint, "path_style": True, **further}


def wait_for_state(
    daemon: SeederDaemon, bucket: str, key: str, state: str = "serving", *, timeout: float = 30
) -> dict[str, Any]:
    """Wait until an object is in `state` and return its entry of /status.json.

    It may have no entry yet: a reload takes its time.
    """
    found: dict[str, Any] = {}

    def reached() -> bool:
        entry = daemon.find_torrent(bucket, key)
        found.clear()
        found.update(entry or {"state": "unknown", "reason": "/status.json has no such object"})
        return bool(found["state"] == state)

    try:
        poll_until(reached, timeout=timeout, what=f"state {state} of {bucket}/{key}")
    except HarnessError as error:
        raise HarnessError(f"{error}; it is {found['state']}: {found['reason']}") from None
    return found


def served_torrent(daemon: SeederDaemon, bucket: str, key: str) -> bytes:
    """Return the torrent file at GET /BUCKET/KEY?torrent."""
    code, body = daemon.get(_page(bucket, key, "torrent"))
    if code != 200:
        raise HarnessError(f"?torrent of {bucket}/{key} answered {code}: {body!r}")
    return body


def only(torrent: bytes, key: bytes) -> bytes:
    """Return a torrent file that tells of its tracker or of its web seed alone."""
    outside: Any = bdecode(torrent)
    for other in {b"announce", b"announce-list", b"url-list"} - {key}:
        outside.pop(other, None)
    return bencode(outside)


def served_magnet(daemon: SeederDaemon, bucket: str, key: str) -> str:
    """Return the magnet link at GET /BUCKET/KEY?magnet without our peer address.

    A client that is given it finds peers, and with them the metadata, by the tracker alone.
    """
    code, body = daemon.get(_page(bucket, key, "magnet"))
    if code != 200:
        raise HarnessError(f"?magnet of {bucket}/{key} answered {code}: {body!r}")
    fields = body.decode().strip().split("&")
    return "&".join(field for field in fields if not field.startswith("x.pe="))


def _page(bucket: str, key: str, page: str) -> str:
    return f"/{quote(bucket)}/{quote(key, safe='/')}?{page}"


def read_torrent(file: bytes) -> Torrent:
    """Return what a torrent file says."""
    outside: Any = bdecode(file)
    info = outside[b"info"]
    tiers = outside.get(b"announce-list", [[outside[b"announce"]]])
    return Torrent(
        name=info[b"name"].decode(),
        size=info[b"length"],
        piece_length=info[b"piece length"],
        info=bencode(info),
        trackers=tuple(url.decode() for tier in tiers for url in tier),
    )


def announce(daemon: SeederDaemon, info_hash: bytes, *, left: int = 1) -> dict[bytes, Any]:
    """Announce as a leecher that has just come, and return the tracker's answer."""
    query = f"info_hash={quote_from_bytes(info_hash, safe='')}&peer_id=-XX0000-000000000000"
    query += f"&port=6881&uploaded=0&downloaded=0&left={left}&compact=1&event=started"
    code, body = daemon.get(f"/announce?{query}")
    if code != 200:
        raise HarnessError(f"/announce answered {code}: {body!r}")
    answer: dict[bytes, Any] = bdecode(body)
    return answer
