"""What `seeder diagnose` reads of strangers: torrent files, magnet links, answers of trackers."""

from seeder.commands.sought import (
    LARGEST_PIECE,
    MOST_PEERS,
    MOST_TRACKERS,
    MOST_WEB_SEEDS,
    Sought,
    parse_sought_file,
    parse_sought_link,
    parse_told,
    web_seed_url,
)
from seeder.errors import MetainfoError
from tests.fuzz.inputs import target
from tests.fuzz.targets.torrents import BUNDLE, HYBRID, PLAIN

_SEEDS = b"8:url-listl7:http://10:https://a/e"


def _torrent(info: bytes) -> bytes:
    return b"d8:announce8:http://a13:announce-listll7:udp://belee4:info" + info + _SEEDS + b"e"


_V2 = b"d12:meta versioni2e4:name1:a12:piece lengthi16384ee"


@target(*map(_torrent, (PLAIN, HYBRID, BUNDLE, _V2)), b"de", b"d4:infodee")
def sought_file(data: bytes) -> None:
    """A torrent file: what it names within bounds, and each byte of a piece in one place."""
    try:
        found = parse_sought_file(data)
    except MetainfoError:
        return
    _check(found)
    described = found.described
    assert (described is None) == found.v2_only
    if described is None or not described.layout.piece_count:
        return
    assert described.layout.piece_length <= LARGEST_PIECE
    for index in {0, described.layout.piece_count - 1}:
        spans = described.spans(index)
        assert sum(each.inside.length for each in spans) == described.layout.piece_size(index)
        assert len(described.hash_of(index)) == 20
        for span in spans[:3]:
            if span.path is not None:
                url = web_seed_url("http://host/x/", described, span.path)
                assert url.isascii()
                assert url.startswith("http://host/x/")


@target(
    b"magnet:?xt=urn:btih:"
    + b"a" * 40
    + b"&tr=http://t/announce&ws=http://w&x.pe=[::1]:5&x.pe=a:1",
    b"magnet:?xt=urn:btih:" + b"A" * 32,
    b"magnet:?xt=urn:btmh:1220" + b"0" * 64,
    b"magnet:?xt.1=x&xt=urn:btih:zz",
    b"magnet://[",
)
def sought_link(data: bytes) -> None:
    """A magnet link: what it names within bounds."""
    try:
        found = parse_sought_link(data.decode(errors="replace"))
    except MetainfoError:
        return
    _check(found)
    assert len(found.peers) <= MOST_PEERS
    assert all(0 < peer.port < 65536 for peer in found.peers)


@target(
    b"d8:completei1e10:incompletei2e5:peers6:\1\2\3\4\x1a\xe16:peers618:" + bytes(17) + b"\1e",
    b"d5:peersld2:ip7:1.2.3.44:porti6881eeee",
    b"d14:failure reason3:why15:warning message2:hme",
)
def tracker_told(data: bytes) -> None:
    """A tracker's answer: at most so many peers with addresses and ports that can be dialled."""
    try:
        told = parse_told(data)
    except MetainfoError:
        return
    assert len(told.peers) <= MOST_PEERS
    assert all(peer.host and 0 < peer.port < 65536 for peer in told.peers)
    assert told.seeds is None or told.seeds >= 0


def _check(found: Sought) -> None:
    assert len(found.info_hash) == 20
    assert len(found.trackers) <= MOST_TRACKERS
    assert len(found.web_seeds) <= MOST_WEB_SEEDS
