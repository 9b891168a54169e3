"""The configuration file: every mistake a line, nothing but a ConfigError."""

import contextlib
from pathlib import Path

from seeder.config.load import load
from seeder.config.texts import (
    check_announce_url,
    check_domain,
    check_endpoint,
    check_gateway_url,
    parse_host_port,
    parse_network,
    parse_public_address,
)
from seeder.errors import ConfigError
from seeder.units import exact_size, parse_rate, parse_size, parse_time
from tests.fuzz.inputs import scratch, target

_DIRECTORY = scratch()
_EXAMPLE = Path(__file__).parents[3] / "config" / "seeder.toml"
_SHORT = (
    b'[[objects]]\nbucket = "b"\nkey = "k"\npiece_length = "1 MiB"\n[tracker]\n'
    b'listen = ["127.0.0.1:6969"]\ninterval = "1h30m"\ntrusted_proxies = ["10.0.0.0/8"]\n'
)


@target(
    _EXAMPLE.read_bytes(),
    _SHORT,
    b"objects = 1\n[origins]\na = 2\n",
    b'a = "\\ud800"',
    b"x = " + b"[" * 1000,
    b"\xff",
    b'[[objects]]\nbucket = "b\\n"\nkey = 1979-05-27T07:32:00Z\n',
    blown_up=64 * 1024,
)
def config(data: bytes) -> None:
    """A file is a configuration, or its mistakes are told in one line each."""
    path = _DIRECTORY / "seeder.toml"
    path.write_bytes(data)
    try:
        load(path)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.isprintable(), problem
            assert len(problem) < 4000


_PARSERS = (
    parse_host_port,
    parse_public_address,
    parse_network,
    check_endpoint,
    check_gateway_url,
    check_announce_url,
    check_domain,
    parse_rate,
    parse_time,
)


@target(b"127.0.0.1:6969", b"[::1]:1", b"10.0.0.0/8", b"http://a.example.org/announce", b"1 MiB/s")
def config_texts(data: bytes) -> None:
    """Addresses, networks, URLs, sizes and times: a value, or a ValueError that says what to do."""
    text = data.decode(errors="surrogateescape")
    for parse in _PARSERS:
        try:
            parse(text)
        except ValueError as error:
            assert str(error)
            assert str(error).isprintable()
    with contextlib.suppress(ValueError):
        size = parse_size(text)
        assert parse_size(exact_size(size)) == size
