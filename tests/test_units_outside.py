"""Numbers as strangers write them: whatever reads one takes it, or refuses it as documented."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from seeder.admin.view import View
from seeder.commands.sought import parse_sought_file, parse_sought_link
from seeder.config.load import load
from seeder.config.texts import parse_host_port
from seeder.errors import AnnounceError, BencodeError, ConfigError, MetainfoError
from seeder.gateway.index import IndexQuery, _place
from seeder.gateway.listing import read_query
from seeder.gateway.s3errors import S3Error
from seeder.http.dates import parse_date
from seeder.http.headers import accepted, parse_range
from seeder.http.messages import RequestReader, RequestRefused
from seeder.net.addresses import parse_ip
from seeder.s3.heads import content_length, gives, whole_size
from seeder.torrent import bencode
from seeder.tracker.announce import parse_announce
from seeder.units import ByteRange, parse_moment, parse_size, parse_time, port_number, whole_number

LONG = "9" * 5000
"""More digits than `int` takes (sys.set_int_max_str_digits)."""
ODD = [
    "", " ", "+80", "-80", "8_0", " 80", "80 ", "8 0", "0x50", "80.0", "8e1", "٣", "８０", "²",
    "\x0080", "80\n", "nan", "inf", "0" * 5000 + "80", "000080" + "0" * 5000,
    "80" + "0" * 5000, LONG, f"-{LONG}",
    f"{LONG}.5", "1e999", "65536", "99999999999999999999",
]  # fmt: skip
HASH = "0123456789abcdef0123456789abcdef01234567"
QUERY = b"info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=pppppppppppppppppppp&port=1&event=stopped"


def raw(text: str) -> bytes:
    return text.encode()


def announce(name: str) -> Callable[[str], object]:
    """Return what announces with an odd value of a parameter."""
    return lambda text: parse_announce(QUERY + f"&{name}=".encode() + raw(text))


def head(line: str) -> Callable[[str], object]:
    """Return what reads a request with an odd header."""

    def read(text: str) -> object:
        reader = RequestReader(16 * 1024)
        reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + raw(line + text) + b"\r\n\r\n")
        return reader.next_head()

    return read


READERS: dict[str, tuple[Callable[[str], object], tuple[type[Exception], ...]]] = {
    "whole_number": (whole_number, ()),
    "port_number": (port_number, ()),
    "size": (lambda text: parse_size(f"{text} GiB"), (ValueError,)),
    "time": (lambda text: parse_time(f"{text}d"), (ValueError,)),
    "moment": (lambda text: parse_moment(text, 0.0), (ValueError,)),
    "magnet's peer": (
        lambda text: parse_sought_link(
            f"magnet:?xt=urn:btih:{HASH}&x.pe=127.0.0.1:{quote(text)}&x.pe=[::1]:{quote(text)}"
        ),
        (),
    ),
    "magnet's tracker": (
        lambda text: parse_sought_link(
            f"magnet:?xt=urn:btih:{HASH}&tr=http://a:{quote(text)}/announce&tr=udp://a:{text}"
        ),
        (),
    ),
    "torrent's tracker": (
        lambda text: parse_sought_file(
            b"d8:announce"
            + bencode.encode(raw(f"http://a:{text}/"))
            + b"4:infod6:lengthi"
            + raw(text)
            + b"eee"
        ),
        (MetainfoError,),
    ),
    "bencoded integer": (lambda text: bencode.decode(b"i%be" % raw(text)), (BencodeError,)),
    "bencoded length": (lambda text: bencode.decode(b"%b:a" % raw(text)), (BencodeError,)),
    "address and port": (lambda text: parse_host_port(f"127.0.0.1:{text}"), (ValueError,)),
    "address": (lambda text: parse_ip(f"127.0.0.{text}"), (ValueError,)),
    **{
        f"announce's {name}": (announce(name), (AnnounceError,))
        for name in ("port", "left", "downloaded", "uploaded", "numwant", "key", "compact")
    },
    "Range": (lambda text: parse_range(b"bytes=0-%b" % raw(text), 100), ()),
    "Range's end": (lambda text: parse_range(b"bytes=-%b" % raw(text), 100), ()),
    "Range's start": (lambda text: parse_range(b"bytes=%b-" % raw(text), 100), ()),
    "Content-Length": (head("Content-Length: "), (RequestRefused,)),
    "Transfer-Encoding": (head("Transfer-Encoding: "), (RequestRefused,)),
    "quality": (lambda text: accepted([b"a/b;q=%b" % raw(text)]), ()),
    "date": (lambda text: parse_date(f"Sun, {text} Nov 2026 12:00:00 GMT"), ()),
    "S3's Content-Length": (lambda text: content_length({"content-length": text}), ()),
    "S3's Content-Range": (
        lambda text: (
            whole_size(206, {"content-range": f"bytes 0-{text}/{text}"}),
            gives(206, {"content-range": f"bytes {text}-9/*"}, ByteRange(0, 1)),
        ),
        (),
    ),
    "max-keys": (
        lambda text: read_query([(b"list-type", b"2"), (b"max-keys", raw(text))]),
        (S3Error,),
    ),
    "a page of the list": (lambda text: _place(IndexQuery(order="size", after=f"{text}/b/k")), ()),
    "a page of the status": (
        lambda text: View.of(b"first=%b&rows=1" % raw(text)),
        (),
    ),
}


@pytest.mark.parametrize("name", sorted(READERS))
def test_odd_numbers_are_taken_or_refused_as_documented(name: str) -> None:
    read, refusals = READERS[name]
    for text in ODD:
        with suppress(*refusals):
            read(text)


@pytest.mark.parametrize("text", [text for text in ODD if text != "65536"])
def test_only_digits_are_a_port(text: str) -> None:
    assert port_number(text) is None
    link = f"magnet:?xt=urn:btih:{HASH}&x.pe=127.0.0.1:{quote(text)}"
    assert parse_sought_link(link).peers == ()


@pytest.mark.parametrize("text", [text for text in ODD if "\0" not in text and "\n" not in text])
@pytest.mark.parametrize(
    "line", ["peer.connections = {}", "peer.listen = ['127.0.0.1:{}']", "cache.disk = '{} GiB'",
             "tracker.announce_url = 'http://a:{}/announce'", "refresh = '{}'"]
)  # fmt: skip
def test_an_odd_number_in_the_configuration_is_one_line(
    tmp_path: Path, line: str, text: str
) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(f'{line.format(text)}\n[[objects]]\nbucket = "b"\nkey = "k"\n')
    problems: tuple[str, ...] = ()
    try:
        load(path)
    except ConfigError as error:
        problems = error.problems
    assert len(problems) <= 2
    assert not any("\n" in problem for problem in problems)
