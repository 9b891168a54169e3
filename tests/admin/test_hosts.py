"""A browser that was led here by a name of another site gets nothing."""

import pytest

from seeder.admin.hosts import is_answered

NAMES = ("status.example.org",)


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1",
        b"127.0.0.1:9180",
        b"[::1]",
        b"[::1]:9180",
        b"[fe80::1%25eth0]:9180",
        b"203.0.113.7:80",
        b"localhost",
        b"LocalHost:9180",
        b"localhost.",
        b"localhost:",
        b"seeder.localhost:9180",
        b"status.example.org",
        b"Status.Example.Org.:9180",
        b" localhost ",
        None,
    ],
)
def test_addresses_localhost_and_configured_names_are_answered(host: bytes | None) -> None:
    assert is_answered(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":9180",
        b"rebound.example",
        b"rebound.example:9180",
        b"127.0.0.1.rebound.example",
        b"localhost.rebound.example",
        b"notlocalhost",
        b"xstatus.example.org",
        b"status.example.org.rebound.example",
        b"status.example.org..",
        b"127.0.0.1%.rebound.example",
        b"127.0.0.1%25.rebound.example:9180",
        b"127.0.0.1%",
        b"127.1",
        b"2130706433",
        b"0x7f.0.0.1",
        b"127.0.0.1:80:80",
        b"::1",
        b"[127.0.0.1]",
        b"[localhost]",
        b"[::1",
        b"[::1]x",
        b"localhost:x",
        b"rebound.example@localhost",
        b"localhost, rebound.example",
        "localhost\u0660".encode(),
    ],
)
def test_any_other_name_is_not(host: bytes) -> None:
    assert not is_answered(host, NAMES)
