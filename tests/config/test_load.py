"""A configuration file is either taken whole, or every mistake in it is named at once."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.config.advice import advise
from seeder.config.load import load
from seeder.config.mistakes import TABLES
from seeder.config.node import CacheSettings
from seeder.config.objects import ObjectSettings
from seeder.config.public import ReadKeySettings
from seeder.config.sections import Config
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.units import GIB, KIB, MIB

EXAMPLE = Path(__file__).parents[2] / "config" / "seeder.toml"
COMMENTED = r"^# (?=[\w\"/]+ = |\[)"
"""In front of the lines of the example that show a key, or an entry of a list."""
ONE_OBJECT = '[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n'

Load = Callable[[str], Config]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as a configuration file, without systemd's variables."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def read(text: str) -> Config:
        path = tmp_path / "seeder.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


def problems_of(read: Load, text: str) -> tuple[str, ...]:
    """Return the problems that a configuration is refused for."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    problems = caught.value.problems
    assert problems
    assert all(line and line.isprintable() for line in problems)
    return problems


def only_problem(read: Load, text: str) -> str:
    (problem,) = problems_of(read, text)
    return problem


def test_an_object_is_all_that_must_be_written(read: Load, tmp_path: Path) -> None:
    config = read(ONE_OBJECT)
    assert config.state_directory == tmp_path / "home/.local/state/seeder"
    assert config.cache.directory == tmp_path / "home/.cache/seeder"
    assert list(config.origins) == ["default"]
    origin = config.origins["default"]
    assert (origin.name, origin.endpoint, origin.region) == ("default", None, "us-east-1")
    (published,) = config.objects
    assert str(published.ref) == "quotes/Nelson"
    assert published.metainfo == ("origin", "sidecar", "checksums", "build")
    assert (published.verify, published.refresh, published.piece_length) == ("sample", 600.0, None)
    assert config.tracker.listen == (HostPort("0.0.0.0", 6969),)
    assert config.tracker.announce_url is None
    assert config.tracker.interval == 1800.0
    assert config.peer.listen == (HostPort("0.0.0.0", 6881),)
    assert (config.cache.memory, config.cache.disk) == (256 * MIB, 50 * GIB)
    assert config.admin.listen == (HostPort("127.0.0.1", 9180),)
    assert config.savings.price_per_gb == 0.09


def test_every_key_is_read_and_parsed(read: Load, tmp_path: Path) -> None:
    (tmp_path / "my.torrent").write_bytes(b"de")
    (tmp_path / "ca.pem").write_bytes(b"")
    config = read(
        """
        state_directory = "state"
        [origin]
        endpoint = "http://127.0.0.1:7480/"
        region = "RegionOne"
        path_style = true
        profile = "publisher"
        request_payer = true
        expected_bucket_owner = "111122223333"
        connections = 32
        ca_file = "ca.pem"
        [origins.mirror]
        anonymous = true
        [[objects]]
        origin = "mirror"
        bucket = "quotes"
        key = "a/b c\\n.bin"
        version_id = "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"
        metainfo = ["build"]
        torrent_file = "my.torrent"
        piece_length = "1 MiB"
        private = true
        public = true
        verify = "all"
        refresh = "1h30m"
        [tracker]
        listen = ["[::]:6969", "localhost:0"]
        announce_url = "https://t.example.org/x/announce.php?passkey=1"
        interval = "90s"
        peers_per_address = 1
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [peer]
        listen = ["[::1]:0"]
        public_address = "[2001:db8::7]:6881"
        connections = 1
        connections_per_address = 1
        [gateway]
        url = "https://torrents.example.org/"
        domains = ["Torrents.Example.org.", "t.example.org"]
        listing = true
        [[gateway.keys]]
        access_key_id = "READER"
        secret_file = "reader.secret"
        objects = ["quotes/*", "*/public/*"]
        [[gateway.keys]]
        access_key_id = "OTHER"
        secret_credential = "other"
        objects = ["quotes/Nelson"]
        [cache]
        directory = "/cache-that-is-not-there"
        memory = "1.5GiB"
        disk = "0 B"
        [admin]
        listen = []
        hosts = ["Status.example.org.", "seeder"]
        [savings]
        price_per_gb = 0
        price_per_1000_requests = 1
        [budget]
        origin_bytes_per_day = "500 GiB"
        origin_bytes_per_month = "0 B"
        origin_requests_per_day = 0
        origin_requests_per_month = 1000000
        origin_money_per_day = 10
        origin_money_per_month = 0.5
        uploaded_bytes_per_day = "1.5 TiB"
        """
    )
    assert config.state_directory == tmp_path / "state"
    origin = config.origins["default"]
    assert origin.endpoint == "http://127.0.0.1:7480"
    assert origin.ca_file == tmp_path / "ca.pem"
    assert config.origins["mirror"].anonymous
    assert config.origins["mirror"].name == "mirror"
    (published,) = config.objects
    assert (published.ref.origin, published.ref.key) == ("mirror", "a/b c\n.bin")
    assert published.torrent_file == tmp_path / "my.torrent"
    assert (published.piece_length, published.refresh) == (MIB, 5400.0)
    assert published.is_public
    gateway = config.gateway
    assert (gateway.url, gateway.listing) == ("https://torrents.example.org", True)
    assert gateway.domains == ("torrents.example.org", "t.example.org")
    reader, other = gateway.keys
    assert (reader.secret_file, reader.secret_credential) == (tmp_path / "reader.secret", None)
    assert reader.objects == ("quotes/*", "*/public/*")
    assert (other.secret_file, other.secret_credential) == (None, "other")
    assert config.admin.hosts == ("status.example.org", "seeder")
    assert config.tracker.listen == (HostPort("::", 6969), HostPort("localhost", 0))
    assert config.tracker.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    assert config.peer.public_address == (HostPort("2001:db8::7", 6881),)
    assert (config.cache.memory, config.cache.disk) == (3 * GIB // 2, 0)
    assert config.admin.listen == ()
    assert config.budget.amounts() == {
        "origin_bytes_per_day": 500 * GIB,
        "origin_bytes_per_month": 0,
        "origin_requests_per_day": 0,
        "origin_requests_per_month": 1_000_000,
        "origin_money_per_day": 10.0,
        "origin_money_per_month": 0.5,
        "uploaded_bytes_per_day": 1536 * GIB,
        "uploaded_bytes_per_month": None,
        "uploaded_money_per_day": None,
        "uploaded_money_per_month": None,
    }


def test_systemd_gives_the_directories(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/seeder:/var/lib/other")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/seeder")
    config = read(ONE_OBJECT)
    assert config.state_directory == Path("/var/lib/seeder")
    assert config.cache.directory == Path("/var/cache/seeder")
    written = read(f'state_directory = "/s"\n{ONE_OBJECT}[cache]\ndirectory = "/c"\n')
    assert (written.state_directory, written.cache.directory) == (Path("/s"), Path("/c"))


def test_sections_can_be_built_without_a_file(tmp_path: Path) -> None:
    cache = CacheSettings(directory=tmp_path, memory=1024, disk=4096)
    assert (cache.memory, cache.disk) == (1024, 4096)
    published = ObjectSettings(bucket="b", key="k", piece_length=16 * KIB, refresh=0.05)
    assert (published.piece_length, published.refresh) == (16 * KIB, 0.05)


def test_every_mistake_of_a_file_is_listed_at_once(read: Load) -> None:
    problems = problems_of(
        read,
        """
        memroy = 1
        [origin]
        endpoint = "ftp://s3.example.org"
        connections = 99
        [[objects]]
        bucket = "quotes"
        key = ""
        origin = "mirror"
        [[objects]]
        bucket = "quotes"
        key = "Nelson"
        piece_length = "3 MiB"
        verify = "al"
        [tracker]
        listen = ["6969"]
        intervall = "1m"
        [peer]
        public_address = "0.0.0.0:6881"
        [cache]
        memory = 256
        """,
    )
    assert [re.split(r"[ :]", line)[0] for line in problems] == [
        "origin.endpoint",
        "origin.connections",
        "objects[0].origin",
        "objects[0].key",
        "objects[1].piece_length",
        "objects[1].verify",
        "tracker.listen[0]",
        "tracker.intervall",
        "peer.public_address",
        "cache.memory",
        "memroy",
    ]


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("objects[0].bucket", '""', "want the name of a bucket"),
        ("objects[0].bucket", '"quotes/x"', "without a slash"),
        ("objects[0].bucket", "7", 'write "7", with the quotes'),
        ("objects[0].key", '""', "want the key of an object"),
        ("objects[0].key", f'"{"é" * 513}"', "want at most 1024 bytes"),
        ("objects[0].version_id", '""', "want visible ASCII"),
        ("objects[0].piece_length", '"8 KiB"', 'power of two from "16 KiB" to "128 MiB"'),
        ("objects[0].piece_length", '"256 MiB"', "power of two"),
        ("objects[0].piece_length", '"1 MB"', "power of two"),
        ("objects[0].piece_length", "1048576", "want a size such as"),
        ("objects[0].private", '"yes"', "want true or false, without quotes"),
        ("objects[0].verify", '"some"', 'want "sample" or "all"'),
        ("objects[0].format", '"v2"', 'want "v1" or "hybrid"'),
        ("objects[0].verify", '"Sample"', 'did you mean "sample"?'),
        ("objects[0].metainfo", "[]", 'want a list such as ["origin", "build"]'),
        ("objects[0].metainfo", '["build", "build"]', "each source once"),
        ("objects[0].refresh", '"10"', "want a time such as"),
        ("objects[0].refresh", '"0s"', "above zero"),
        ("objects[0].refresh", '"500ms"', 'at least "1s"'),
        ("objects[0].refresh", "10", "want a time such as"),
        ("objects[0].torrent_file", '"/"', "is something else"),
        ("origin.endpoint", '"s3.example.org"', "want a URL with http:// or https://"),
        ("origin.endpoint", '"https://"', "want a URL with a host"),
        ("origin.endpoint", '"https://1.2.3/"', "want a URL with a host"),
        ("origin.endpoint", '"https://s3.example.org/quotes"', "objects name their bucket"),
        ("origin.endpoint", '"https://[::1"', "want a URL such as"),
        ("origin.endpoint", '"https://s3.example.org:99999"', "want a URL such as"),
        ("origin.region", '""', "want a region's name"),
        ("origin.connections", "0", "from 1 to 32"),
        ("origin.connections", "33", "from 1 to 32"),
        ("origin.connections", "true", "from 1 to 32"),
        ("origin.expected_bucket_owner", "111122223333", 'write "111122223333", with the quotes'),
        ("origin.ca_file", '"gone.pem"', "want a file, and there is none at /"),
        ("tracker.listen", '"0.0.0.0:6969"', 'want a list such as ["0.0.0.0:6969"]'),
        ("tracker.listen", "[]", 'want a list such as ["0.0.0.0:6969"]'),
        ("tracker.listen[0]", '["0.0.0.0"]', "want an address and a port"),
        ("tracker.listen[0]", '["0.0.0.0:65536"]', "at most 65535"),
        ("tracker.listen[0]", '[":6969"]', '"0.0.0.0:6969" or "[::]:6969"'),
        ("tracker.listen[0]", '["::1:6969"]', "in brackets"),
        ("tracker.listen[0]", '["[127.0.0.1]:6969"]', "an IPv6 address between the brackets"),
        ("tracker.listen[0]", '["256.0.0.1:6969"]', "want an IPv4 address"),
        ("tracker.listen[0]", '["no_such host:6969"]', "want an IPv4 address"),
        ("tracker.listen[0]", "[6969]", "want an address and a port"),
        ("tracker.announce_url", '"udp://t.example.org:6969/announce"', "with http:// or https://"),
        ("gateway.web_seeds[0]", '["https://m.example.net/"]', "ends with {key}"),
        ("gateway.web_seeds[0]", '["https://m.example.net/{key}/{key}"]', "ends with {key}"),
        ("gateway.web_seeds[0]", '["s3://{bucket}/{key}"]', "http:// or https://"),
        ("gateway.web_seeds[0]", '["https://m.example.net/{name}/{key}"]', "no other braces"),
        ("tracker.udp_listen", '"0.0.0.0:6969"', "want a list"),
        ("tracker.udp_listen[0]", '["0.0.0.0"]', "want an address and a port"),
        ("tracker.udp_announce_url", '"http://t.example.org/announce"', "with udp://"),
        ("tracker.udp_announce_url", '"udp://t.example.org/announce"', "want a URL with a port"),
        ("tracker.announce_list[0]", '["udp://t.example.org"]', "want a URL with a port"),
        ("tracker.announce_list[0]", '["UDP://t.example.org/announce"]', "want a URL with a port"),
        ("tracker.announce_list[0]", '["wss://t.example.org"]', "https:// or udp://"),
        ("tracker.announce_list[0]", '["http://t.example.org/"]', 'begins with "announce"'),
        ("tracker.announce_url", '"http://t.example.org/"', 'last part begins with "announce"'),
        ("tracker.announce_url", '"http://t.example.org/announce/x"', "last part begins with"),
        ("tracker.announce_url", '"http://t/announce?port=1&numwant=2"', "without port, numwant"),
        ("tracker.announce_url", '"http://t/?key=1"', '"announce" and a query without key'),
        ("tracker.announce_url", '"http://t/announce#x"', "without a fragment"),
        ("tracker.announce_url", '"http://t/an nounce"', "percent-encoded"),
        ("tracker.interval", '"often"', "want a time such as"),
        ("tracker.interval", '"400d"', "at most a year"),
        ("tracker.peers_per_address", "-1", "want a whole number from 1"),
        ("tracker.trusted_proxies[0]", '["10.0.0.1/8"]', 'did you mean "10.0.0.0/8"?'),
        ("tracker.trusted_proxies[0]", '["10.0.0.0/33"]', "want a network such as"),
        ("gateway.url", '"torrents.example.org"', "want a URL with http:// or https://"),
        ("gateway.url", '"https://torrents.example.org/?x"', "without a query"),
        ("gateway.domains", '"torrents.example.org"', 'want a list such as ["torrents.'),
        ("gateway.domains[0]", '["http://torrents.example.org"]', "want a domain name"),
        ("gateway.domains[0]", '["203.0.113.7"]', "want a domain name"),
        ("gateway.domains[0]", '["t.example.org:6969"]', "want a domain name"),
        ("admin.hosts[0]", '["status.example.org:9180"]', "want a domain name"),
        ("gateway.domains[0]", '[""]', "want a domain name"),
        ("gateway.listing", '"yes"', "want true or false"),
        ("peer.public_address", '["192.0.2.1:1", "192.0.2.2:1"]', "want one IPv4 and one"),
        ("peer.public_address[0]", '["seed.example.org"]', "want an address and a port"),
        ("peer.public_address[0]", '["seed.example.org:0"]', "at which peers reach this seeder"),
        ("peer.public_address", '"[::]:6881"', "at which peers reach this seeder"),
        ("peer.public_address", '"203.0.113.7:0"', "at which peers reach this seeder"),
        ("peer.connections", "1.5", "want a whole number"),
        ("cache.directory", '""', "want a path"),
        ("cache.directory", '"/dev/null"', "want a directory"),
        ("cache.memory", '"256"', "want a size such as"),
        ("cache.memory", '"-1 MiB"', "want a size such as"),
        ("cache.memory", '"9999999 TiB"', "a size that a disk can hold"),
        ("cache.disk", '"50 gigs"', "want a size such as"),
        ("gateway.web_seed", '"yes"', "want true or false"),
        ("gateway.url", '"data.example.org"', "with http:// or https://"),
        ("gateway.url", '"http://data.example.org/?x=1"', "without a query"),
        ("savings.price_per_gb", "-0.01", "want a price"),
        ("savings.price_per_gb", "nan", "want a price"),
        ("savings.price_per_gb", '"cheap"', "want a price"),
        ("savings.price_per_gb", "{}", "want a price, or prices by the volume"),
        ("savings.price_per_gb", "[0.1]", "want a price"),
        ("savings.currency", '""', "want a currency"),
        ("savings.currency", '"two words"', "want a currency"),
        ("savings.currency", "1", "want a currency"),
        ("budget.origin_bytes_per_day", "500", "want a size such as"),
        ("budget.uploaded_bytes_per_month", '"-1 TiB"', "want a size such as"),
        ("budget.origin_requests_per_day", '"1000"', "want a whole number from 0 to"),
        ("budget.origin_requests_per_month", "-1", "want a whole number from 0 to"),
        ("budget.origin_money_per_day", "-0.5", "want an amount of money"),
        ("budget.uploaded_money_per_month", '"much"', "want an amount of money"),
        ("budget.uploaded_money_per_day", "inf", "want an amount of money"),
        ("budget.origin_money_per_month", "true", "want an amount of money"),
    ],
)
def test_a_bad_value_is_shown_with_its_place_and_what_is_wanted(
    read: Load, key: str, value: str, wanted: str
) -> None:
    section, _, name = key.partition(".")
    name = name.partition("[")[0]
    if section == "objects[0]":
        needed = {"bucket": '"quotes"', "key": '"Nelson"'} | {name: value}
        text = "[[objects]]\n" + "".join(f"{k} = {v}\n" for k, v in needed.items())
    else:
        text = f"{ONE_OBJECT}[{section}]\n{name} = {value}\n"
    problem = only_problem(read, text)
    shown = value[1:-1] if key.endswith("]") else value
    assert problem.startswith(f"{key} = {shown[:60]}")
    assert wanted in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('level = "warn"', 'log.level = "warn": want "debug" or "info" or "warning" or "error"'),
        ('levels = "info"', 'log.levels = "info": want levels by room, such as { peer = "warning'),
        ('levels = { peers = "info" }', "log.levels = {...}: want "),
        ('levels = { peers = "info" }', 'did you mean "peer"?, and there is peers = "info"'),
        (
            "levels = { peer = 1 }",
            'log.levels = {...}: want "debug" or "info" or "warning" or "err',
        ),
    ],
)
def test_a_level_that_there_is_not_is_named(read: Load, text: str, problem: str) -> None:
    [line] = problems_of(read, f"{ONE_OBJECT}[log]\n{text}\n")
    assert problem in line


def test_a_list_of_sources_points_at_the_wrong_one(read: Load) -> None:
    text = ONE_OBJECT + 'metainfo = ["origin", "checksum", "bild"]\n'
    first, second = problems_of(read, text)
    assert first.startswith('objects[0].metainfo[1] = "checksum": want "origin" or "sidecar"')
    assert first.endswith('did you mean "checksums"?')
    assert second.startswith('objects[0].metainfo[2] = "bild"')
    assert second.endswith('did you mean "build"?')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[cache]\nmemry = 1", 'cache.memry: unknown key; did you mean "memory"?'),
        ("[orgin]\nregion = 1", 'orgin: unknown key; did you mean "origin"?'),
        ("[origins.z]\nregoin = 1", 'origins.z.regoin: unknown key; did you mean "region"?'),
        ("[tracker]\nmemory = 1", "tracker.memory: unknown key here; it belongs to [cache]"),
        ("[savings]\nbucket = 1", "savings.bucket: unknown key here; it belongs to [[objects]]"),
        (
            "[admin]\nstate_directory = 1",
            "admin.state_directory: unknown key here; "
            "it goes to the top of the file, above every [heading]",
        ),
        (
            "[admin]\nzzz = 1",
            "admin.zzz: unknown key; there are listen, hosts, metrics_objects, socket, token_file,"
            " token_credential",
        ),
        ("[origin]\nname = 1", "origin.name: unknown key; an origin's name is in its heading"),
        ('[cache]\n"a b" = 1', 'cache."a b": unknown key; there are directory, memory, disk'),
        ("[origins.default]", 'origins.default: the origin named "default" is headed [origin]'),
        ('[origins."a b"]', 'origins."a b": want a name of letters, digits, - and _'),
    ],
)
def test_an_unknown_key_comes_with_a_guess(read: Load, text: str, problem: str) -> None:
    assert only_problem(read, f"{ONE_OBJECT}\n{text}\n") == problem


@pytest.mark.parametrize("text", ["x{} = 1", "[cache]\nx{} = 1", "[origins.x{}]\na = 1"])
def test_a_key_of_any_length_is_shown_in_a_line_that_can_be_read(read: Load, text: str) -> None:
    for problem in problems_of(read, text.format("x" * 10_000)):
        assert len(problem) < 400


@pytest.mark.parametrize("key", ["secret_access_key", "aws_access_key_id", "session_token"])
def test_a_credential_is_refused_and_never_shown(read: Load, key: str) -> None:
    problem = only_problem(read, f'{ONE_OBJECT}[origin]\n{key} = "hunter2"\n')
    assert problem.startswith(f"origin.{key}: unknown key; credentials never stand here")
    assert "hunter2" not in problem


@pytest.mark.parametrize("user", ["publisher:hunter2", "publisher:hunter2/x", "hunter2"])
def test_a_password_in_a_url_is_refused_and_never_shown(read: Load, user: str) -> None:
    text = f'{ONE_OBJECT}[origin]\nendpoint = "https://{user}@s3.example.org"\n'
    problem = only_problem(read, text)
    assert problem.startswith('origin.endpoint = "https://***@s3.example.org"')
    assert "hunter2" not in problem


READ_KEY = '[[gateway.keys]]\naccess_key_id = "READER"\nobjects = ["quotes/*"]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (READ_KEY, "gateway.keys[0]: has no secret; name its secret_file or its secret_credential"),
        (
            READ_KEY + 'secret_file = "a"\nsecret_credential = "b"',
            'gateway.keys[0].secret_credential = "b": want either a secret_file or a'
            " secret_credential, not both",
        ),
        (
            READ_KEY + 'secret_file = "a"\nsecret_access_key = "hunter2"',
            "gateway.keys[0].secret_access_key: unknown key; secrets never stand here: use"
            " secret_file or secret_credential",
        ),
        (
            READ_KEY + 'secret_file = "a"\nobject = "b"',
            'gateway.keys[0].object: unknown key; did you mean "objects"?',
        ),
        (
            (READ_KEY + 'secret_file = "a"\n') * 2,
            'gateway.keys[1].access_key_id = "READER": the id of gateway.keys[0] too;'
            " each key has its own",
        ),
        (
            READ_KEY.replace("quotes/*", "quotes") + 'secret_file = "a"',
            'gateway.keys[0].objects[0] = "quotes": want objects such as "quotes/*"',
        ),
        (
            READ_KEY.replace("READER", "a/b") + 'secret_file = "a"',
            'gateway.keys[0].access_key_id = "a/b": want an access key id of 3 to 128 letters,'
            " digits, . _ -",
        ),
        (
            '[gateway]\nkeys = "READER"',
            'gateway.keys = "READER": want a list such as [[gateway.keys]]',
        ),
        ("[gateway]\nkeys = [1]", "gateway.keys[0] = 1: want a table headed [[gateway.keys]]"),
        (
            '[[gateway.keys]]\nsecret_file = "a"\nobjects = ["a/b"]',
            "gateway.keys[0].access_key_id: missing, and it has no default",
        ),
    ],
)
def test_a_read_key_has_an_id_a_secret_elsewhere_and_objects(
    read: Load, text: str, problem: str
) -> None:
    assert only_problem(read, f"{ONE_OBJECT}{text}\n") == problem


def test_an_object_is_public_unless_it_is_private_or_says_otherwise(read: Load) -> None:
    for text, public in (
        ("", True),
        ("private = true", False),
        ("public = false", False),
        ("private = true\npublic = true", True),
        ("private = false\npublic = false", False),
    ):
        assert read(f"{ONE_OBJECT}{text}\n").objects[0].is_public is public


def test_an_object_names_an_origin_that_is_there(read: Load) -> None:
    text = f'{ONE_OBJECT}origin = "mirorr"\n[origins.mirror]\n'
    assert only_problem(read, text) == (
        'objects[0].origin = "mirorr": want "default" or "mirror"; did you mean "mirror"?'
    )


def test_anonymous_and_a_profile_exclude_each_other(read: Load) -> None:
    text = f'{ONE_OBJECT}[origin]\nprofile = "x"\nanonymous = true\n'
    assert "not both" in only_problem(read, text)
    assert read(text.replace("true", "false")).origins["default"].profile == "x"


@pytest.mark.parametrize("text", ["", "[tracker]", "[origin]\nregion = 'x'"])
def test_a_file_without_objects_is_refused(read: Load, text: str) -> None:
    assert only_problem(read, text).startswith("objects: there are none; add an [[objects]]")


def test_a_file_may_say_that_objects_are_added_at_run_time(read: Load, tmp_path: Path) -> None:
    assert read("objects = []").objects == ()
    without = 'objects = []\n[admin]\nsocket = "off"\n'
    assert only_problem(read, without).startswith("objects: there are none, and nobody can add any")
    (tmp_path / "token").write_text("x" * 32)
    assert read(f'{without}token_file = "{tmp_path}/token"').objects == ()


def test_an_object_is_published_once(read: Load) -> None:
    twice = problems_of(read, f'{ONE_OBJECT}{ONE_OBJECT}origin = "default"\n')
    assert twice == ('objects[1].key = "Nelson": the same object as objects[0]; leave one out',)
    config = read(
        f'{ONE_OBJECT}{ONE_OBJECT}version_id = "1"\n{ONE_OBJECT}origin = "b"\n[origins.b]'
    )
    assert len({each.ref for each in config.objects}) == 3


def test_an_object_without_its_bucket_and_key_is_refused(read: Load) -> None:
    assert problems_of(read, "[[objects]]\nprivate = true") == (
        "objects[0].bucket: missing, and it has no default",
        "objects[0].key: missing; name an object's key, or a prefix for all below it",
    )


def test_a_prefix_stands_for_all_below_it(read: Load) -> None:
    text = '[[objects]]\nbucket = "quotes"\nprefix = "a/b"\nprivate = true\n'
    [entry] = read(text).objects
    assert (entry.key, entry.prefix, entry.max_objects) == (None, "a/b", 10_000)
    one = entry.of("a/b c")
    assert (str(one.ref), one.prefix, one.private) == ("quotes/a/b c", None, True)
    assert read(text.replace("a/b", "")).objects[0].prefix == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('key = "k"\nprefix = "p"', 'prefix = "p": want either a key or a prefix, not both'),
        ('key = "k"\nmax_objects = 5', "max_objects = 5: goes with a prefix, and this is one"),
        ('prefix = "p"\nversion_id = "v"', 'version_id = "v": goes with a key, and this is a pre'),
        ('prefix = "p"\ntorrent_file = "t"', 'torrent_file = "t": goes with a key, and this is'),
        ('prefix = "p"\nmax_objects = 0', "max_objects = 0: want a whole number from 1 to"),
        ('key = "k"\nbundle = true', "bundle = true: goes with a prefix, and this is one object"),
        ('prefix = "p"\nbundle = 1', "bundle = 1: want true or false, without quotes"),
        (
            'prefix = "p"\nbundle = true\nmetainfo = ["origin"]',
            'bundle = true: want "build" in metainfo: there is no other torrent of a prefix',
        ),
        (
            'prefix = "p"\nformat = "hybrid"\nbundle = true',
            'bundle = true: goes with format = "v1" only: bundles can\'t be hybrids',
        ),
        ("prefix = 2026", 'prefix = 2026: want what keys begin with: write "2026", with the'),
    ],
)
def test_a_prefix_and_a_key_have_their_own_companions(
    read: Load, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "t").write_bytes(b"de")
    shown = only_problem(read, f'[[objects]]\nbucket = "quotes"\n{text}\n')
    assert shown.startswith(f"objects[0].{problem}")


def test_a_prefix_is_published_once(read: Load) -> None:
    entry = '[[objects]]\nbucket = "quotes"\nprefix = "a/"\n'
    problem = 'objects[1].prefix = "a/": the same prefix as objects[0]; leave one out'
    assert problems_of(read, entry + entry) == (problem,)
    # One within the other is fine, and so is a key that reads like a prefix.
    inner, key = entry.replace("a/", "a/b/"), entry.replace("prefix", "key")
    assert len(read(entry + inner + key).objects) == 3
    # A bundle is published beside its objects, but not beside an object of its name.
    bundle = f"{entry}bundle = true\n"
    assert len(read(entry + bundle).objects) == 2
    assert only_problem(read, key + bundle) == problem


def test_two_listeners_do_not_share_an_address(read: Load) -> None:
    text = f'{ONE_OBJECT}[peer]\nlisten = ["0.0.0.0:6882", "0.0.0.0:6969", "[::]:0", "[::]:0"]\n'
    assert only_problem(read, text) == (
        'peer.listen[1] = "0.0.0.0:6969": taken by tracker.listen[0]; write another port'
    )
    text = f'{ONE_OBJECT}[tracker]\nudp_listen = ["0.0.0.0:6969", "[::]:6969", "0.0.0.0:6969"]\n'
    assert only_problem(read, text) == (
        'tracker.udp_listen[2] = "0.0.0.0:6969": taken by tracker.udp_listen[0]; write another port'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tracker = 3", "tracker = 3: want a table headed [tracker]"),
        ("origin = 'x'", 'origin = "x": want a table headed [origin]'),
        ("[[origin]]", "origin = [{}]: want a table headed [origin]"),
        ("[[cache]]", "cache = [{}]: want a table headed [cache]"),
        ("origins = 1", "origins = 1: want tables headed [origins.NAME]"),
        ("origins.z = 1", "origins.z = 1: want a table headed [origins.z]"),
        ("state_directory = 1979-05-27", "state_directory = 1979-05-27: want a path"),
    ],
)
def test_a_section_of_the_wrong_kind_is_refused(read: Load, text: str, problem: str) -> None:
    assert only_problem(read, f"{text}\n{ONE_OBJECT}") == problem


def test_objects_are_tables_in_double_brackets(read: Load) -> None:
    problem = only_problem(read, '[objects]\nbucket = "quotes"\nkey = "Nelson"\n')
    assert problem == "objects = {...}: want tables, each headed [[objects]]"
    assert only_problem(read, 'objects = ["quotes"]') == (
        'objects[0] = "quotes": want a table headed [[objects]]'
    )


def test_a_torrent_file_is_looked_for_beside_the_configuration(read: Load, tmp_path: Path) -> None:
    text = ONE_OBJECT + 'torrent_file = "torrents/nelson.torrent"\n'
    assert only_problem(read, text) == (
        'objects[0].torrent_file = "torrents/nelson.torrent": '
        f"want a file, and there is none at {tmp_path}/torrents/nelson.torrent"
    )
    (tmp_path / "torrents").mkdir()
    (tmp_path / "torrents/nelson.torrent").write_bytes(b"de")
    assert read(text).objects[0].torrent_file == tmp_path / "torrents/nelson.torrent"


def test_a_relative_configuration_path_still_anchors_its_files(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(f'{ONE_OBJECT}[cache]\ndirectory = "pieces"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("seeder.toml")).cache.directory == tmp_path / "pieces"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file, whatever its permissions")
def test_a_torrent_file_without_permission_is_refused(read: Load, tmp_path: Path) -> None:
    (tmp_path / "t").touch(mode=0)
    assert "that can be read" in only_problem(read, ONE_OBJECT + 'torrent_file = "t"\n')


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[origin]\nregion us-east-1\n", "line 2, column 8"),
        ("a = 1\na = 2\n", "line 2, column 6"),
        ("[cache\n", "line 1, column 7"),
        ("x = [1,\n2", "line 2, column 2 (the end)"),
    ],
)
def test_bad_toml_is_placed_by_line_and_column(
    read: Load, tmp_path: Path, text: str, place: str
) -> None:
    problem = only_problem(read, text)
    assert problem.startswith(f"{tmp_path}/seeder.toml, {place}: not TOML: ")
    assert "(at " not in problem


def test_a_file_that_is_not_utf_8_is_placed_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"[origin]\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.problems == (f"{path}, line 2: not UTF-8 (byte 0xe9); save it as UTF-8",)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ONE_OBJECT.encode())
    assert len(load(path).objects) == 1


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{path}: can't be read: {reason}")


def test_without_a_home_directory_the_place_must_be_written(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    state, cache = problems_of(read, ONE_OBJECT)
    assert state.startswith('state_directory = "~/.local/state/seeder": want a path without ~')
    assert cache.startswith('cache.directory = "~/.cache/seeder": want a path without ~')


def test_the_error_reads_as_one_line_too(read: Load) -> None:
    with pytest.raises(ConfigError, match=r"objects\[0\]\.bucket: missing.*; objects\[0\]\.key"):
        read("[[objects]]")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000,
        "x = " + "9" * 5000,
        f"{ONE_OBJECT}[peer]\nconnections = 0x{'f' * 5000}",
        f'{ONE_OBJECT}[cache]\nmemory = "{"9" * 5000} MiB"',
        f'{ONE_OBJECT}[tracker]\nlisten = ["a:{"9" * 5000}"]',
        f'{ONE_OBJECT}[tracker]\nlisten = ["\\u202Eevil\\u0000:1"]',
        f'{ONE_OBJECT}torrent_file = "\\u0000"',
    ],
)
def test_absurd_files_get_a_short_answer(read: Load, text: str) -> None:
    assert len(only_problem(read, text)) < 500


# The fixture keeps nothing between texts; the first text draws read a big table.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["state_directory", "origin", "origins", "objects", *TABLES]),
        st.recursive(
            st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["bucket", "key", "listen", "origin", "name", "memory", "z"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=12,
        ),
    )
)
def test_any_values_are_taken_or_refused_as_documented(read: Load, values: object) -> None:
    text = _toml(values)
    tomllib.loads(text)
    refusal = None
    try:
        read(text)
    except ConfigError as error:
        refusal = error.problems
    assert refusal is None or refusal
    assert all(line.isprintable() for line in refusal or ())


def _toml(value: object) -> str:
    """Write values as TOML, tables inline but the outermost."""
    if isinstance(value, dict):
        return "\n".join(f"{key} = {_inline(each)}" for key, each in value.items())
    raise TypeError(value)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    return str(value).lower()


def test_a_tracker_behind_a_proxy_needs_to_know_where_peers_reach_us(read: Load) -> None:
    proxied = f'{ONE_OBJECT}[tracker]\ntrusted_proxies = ["10.0.0.0/8"]\n'
    with pytest.raises(ConfigError) as caught:
        read(proxied)
    [problem] = caught.value.problems
    assert problem.startswith("peer.public_address: is needed")
    read(f'{proxied}[peer]\npublic_address = "203.0.113.7:6881"\n')


@pytest.mark.parametrize(
    "prices",
    [
        '{ "1 TiB" = 0.1 }',
        '{ "0 B" = 0.1, "0 GB" = 1 }',
        '{ "0 B" = 0.1, "10" = 1 }',
        '{ "0 B" = -0.1 }',
    ],
)
def test_prices_by_a_volume_that_makes_no_sense_are_refused(read: Load, prices: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{ONE_OBJECT}[savings]\nprice_per_gb = {prices}\n")
    assert caught.value.problems == (
        "savings.price_per_gb = {...}: want a price, or prices by the volume of a month from which"
        ' on they hold, such as { "0 B" = 0.09, "10 TiB" = 0.085 }',
    )


def test_prices_by_volume_are_in_the_order_of_the_volume(read: Load) -> None:
    config = read(
        f'{ONE_OBJECT}[savings]\ncurrency = "€"\n'
        '[savings.price_per_gb]\n"10 TiB" = 0.05\n"100 GB" = 0.09\n"0 B" = 0\n'
    )
    assert config.savings.currency == "€"
    assert config.savings.price_per_gb == ((0, 0.0), (10**11, 0.09), (10 * 2**40, 0.05))


@pytest.mark.parametrize(
    ("prices", "refused"),
    [
        (('{ "0 B" = 0 }', 0), ["origin_money_per_day", "uploaded_money_per_month"]),
        (('{ "0 B" = 0, "1 TiB" = 0.1 }', 0), []),
        ((0, 0), ["origin_money_per_day", "uploaded_money_per_month"]),
        ((0, 1), ["uploaded_money_per_month"]),
        ((0.1, 0), []),
    ],
)
def test_money_needs_a_price(
    read: Load, prices: tuple[float | str, float], refused: list[str]
) -> None:
    text = ONE_OBJECT + (
        f"[savings]\nprice_per_gb = {prices[0]}\nprice_per_1000_requests = {prices[1]}\n"
        "[budget]\norigin_money_per_day = 1\nuploaded_money_per_month = 2.5\n"
        'origin_bytes_per_day = "1 GiB"\n'
    )
    if not refused:
        assert read(text).budget.origin_money_per_day == 1.0
        return
    problems = problems_of(read, text)
    assert [problem.partition(" = ")[0] for problem in problems] == [
        f"budget.{name}" for name in refused
    ]
    assert all("price_per_gb" in problem for problem in problems)


def test_the_example_is_taken_and_holds_every_default(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    url = '[tracker]\nannounce_url = "http://tracker.example.org:6969/announce"\n'
    assert read(example) == read(ONE_OBJECT + url)


def test_the_example_explains_every_key(read: Load, tmp_path: Path) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    written = tomllib.loads(re.sub(COMMENTED, "", example, flags=re.MULTILINE))
    for several in ("objects", "events"):
        written[several] = {
            key: value for entry in written[several] for key, value in entry.items()
        }
    assert written.keys() == (Config.model_fields.keys() - {"origins"}) | {"origin"}
    for name, table in TABLES.items():
        in_heading = {"name"} if name == "origin" else set()
        assert written[name].keys() == table.model_fields.keys() - in_heading, name
    keys = written["gateway"]["keys"]
    assert set().union(*keys) == ReadKeySettings.model_fields.keys()


def test_the_examples_behind_a_hash_are_right_as_well(read: Load, tmp_path: Path) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "nelson.torrent").write_bytes(b"de")
    (tmp_path / "ca.pem").write_bytes(b"")
    # A password comes from a file or a credential, and so does a token.
    example = re.sub(
        r'^# (password_credential|token_credential = "api-token").*',
        "",
        example,
        flags=re.MULTILINE,
    )
    example = example.replace('"redis://10', '"rediss://10')
    uncommented = re.sub(COMMENTED, "", example, flags=re.MULTILINE)
    uncommented = re.sub(r"/etc/seeder/(redis-)?ca\.pem", "ca.pem", uncommented)
    # The certificate comes from files or from systemd.
    from_systemd = re.sub(r"^(tls_certificate|tls_key) = .*\n", "", uncommented, flags=re.MULTILINE)
    assert read(from_systemd).tracker.tls_key_credential == "tls-key"
    config = read(re.sub(r"^tls_\w+_credential = .*\n", "", uncommented, flags=re.MULTILINE))
    assert config.tracker.tls_key == Path("/etc/seeder/privkey.pem")
    assert config.objects[0].piece_length == MIB
    assert [key.access_key_id for key in config.gateway.keys] == ["READER", "OTHER"]
    assert config.peer.public_address == (HostPort("203.0.113.7", 6881),)
    assert config.tracker.groups.keys() == {"eu/a", "eu/b", "office"}
    assert [each.name for each in config.events] == ["uploads", "minio", "ceph"]


# -- [cluster]


@pytest.mark.parametrize(
    "store",
    [
        "redis://10.0.0.5",
        "redis://10.0.0.5:6379/3",
        "redis://seeder@redis.example.org:6380",
        "rediss://[2001:db8::1]:6379/0",
        "unix:///run/redis/redis.sock",
        "unix://seeder@/run/redis.sock?db=2",
    ],
)
def test_a_store_is_a_redis_by_tcp_tls_or_a_socket(read: Load, store: str) -> None:
    assert read(f'{ONE_OBJECT}[cluster]\nstore = "{store}"\n').cluster.store == store


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        ('store = "http://10.0.0.5"', 'cluster.store = "http://10.0.0.5": want a URL such as'),
        ('store = "10.0.0.5:6379"', "cluster.store"),
        ('store = "redis://"', 'cluster.store = "redis://": want a URL such as'),
        ('store = "redis://h:99999"', "cluster.store"),
        ('store = "redis://h:0"', "cluster.store"),
        ('store = "redis://h/a"', "cluster.store"),
        ('store = "redis://h?db=1"', "cluster.store"),
        ('store = "redis://h/0#x"', "cluster.store"),
        ('store = "redis://[::1"', "cluster.store"),
        ('store = "unix://run/redis.sock"', "cluster.store"),
        ('store = "unix:///run/redis.sock/?db=x"', "cluster.store"),
        ('store = "redis://u:hunter2@h"', 'cluster.store = "redis://***@h": want no password'),
        ('store = "redis://h"\nname = "a b"', "cluster.name"),
        ('store = "redis://h"\nname = ""', "cluster.name"),
        ('store = "redis://h"\nreplicas = 0', "cluster.replicas"),
        ('store = "redis://h"\nprefix = "{a}"', "cluster.prefix"),
        ('store = "redis://h"\npassword = "x"', "cluster.password: unknown key; secrets never"),
        ('store = "redis://h"\nnodes = 2', "cluster.nodes: unknown key; there are store, name"),
        (
            'store = "redis://h"\npassword_file = "x"\npassword_credential = "y"',
            'cluster.password_credential = "y": want either',
        ),
        ('name = "a"', "cluster.name: does nothing without cluster.store"),
        ('password_file = "p"', "cluster.password_file: does nothing without cluster.store"),
        ('store = "redis://h"\nca_file = "my.pem"', "cluster.ca_file: goes with a store at"),
    ],
)
def test_a_cluster_that_cant_be_is_told_in_a_line(
    read: Load, tmp_path: Path, lines: str, start: str
) -> None:
    (tmp_path / "my.pem").write_bytes(b"")
    problem = only_problem(read, f"{ONE_OBJECT}[cluster]\n{lines}\n")
    assert problem.startswith(start)
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('tls_certificate = "a"', "tracker.tls_key: is missing; it names the file with"),
        ('tls_certificate_credential = "a"', "tracker.tls_key: is missing; it names the file with"),
        ('tls_key = "a"', "tracker.tls_certificate: is missing, and a key alone is of no use"),
        ('tls_listen = ["[::]:443"]', "tracker.tls_certificate: is missing, without which"),
        ('tls_certificate = ""', 'tracker.tls_certificate = "": want a path'),
        ("tls_listen = 443", 'tracker.tls_listen = 443: want a list such as ["0.0.0.0:443"]'),
        (
            'tls_certificate = "a"\ntls_key = "b"\ntls_key_credential = "c"',
            'tracker.tls_key_credential = "c": want either tls_key or tls_key_credential, not both',
        ),
        (
            'tls_certificate = "a"\ntls_key = "b"\ntls_listen = ["0.0.0.0:6969"]',
            'tracker.tls_listen[0] = "0.0.0.0:6969": taken by tracker.listen[0]; write another',
        ),
    ],
)
def test_half_of_what_tls_takes_is_one_line(read: Load, written: str, said: str) -> None:
    [problem] = problems_of(read, f"{ONE_OBJECT}[tracker]\n{written}\n")
    assert problem.startswith(said)


def test_the_certificate_is_named_by_path_or_credential(read: Load, tmp_path: Path) -> None:
    tracker = read(
        f'{ONE_OBJECT}[tracker]\ntls_certificate = "chain.pem"\ntls_key_credential = "key"\n'
    ).tracker
    assert tracker.tls
    assert tracker.tls_certificate == tmp_path / "chain.pem"
    assert tracker.main_listen == tracker.listen == (HostPort("0.0.0.0", 6969),)
    assert not read(ONE_OBJECT).tracker.tls


@pytest.mark.parametrize("section", ["tracker", "peer", "gateway"])
@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ('deny = ["10.0.0.1/8"]', '.deny[0] = "10.0.0.1/8": has address bits behind the prefix; '),
        ('allow = ["2001:db8::1/32"]', '.allow[0] = "2001:db8::1/32": has address bits behind'),
        ('deny = ["::ffff:10.0.0.1/104"]', ".deny[0] = "),
        ('deny = ["10.0.0.0/33"]', '.deny[0] = "10.0.0.0/33": want a network such as'),
        ('deny = ["example.org"]', '.deny[0] = "example.org": want a network such as'),
        ("deny = [10]", ".deny[0] = 10: want"),
        ('deny = "10.0.0.0/8"', '.deny = "10.0.0.0/8": want a list such as ["192.0.2.0/24"'),
        (
            'deny = ["10.0.0.0/8", "192.0.2.1", "10.0.0.0/8"]',
            '.deny[2] = "10.0.0.0/8": stands in {section}.deny[0] too; leave one out',
        ),
        (
            'allow = ["192.0.2.1/32"]\ndeny = ["192.0.2.1"]',
            '.deny[0] = "192.0.2.1/32": stands in {section}.allow[0] too; leave one out',
        ),
        (
            'deny = ["10.0.0.0/8", "::ffff:10.0.0.0/104"]',
            '.deny[1] = "10.0.0.0/8": stands in {section}.deny[0] too; leave one out',
        ),
    ],
)
def test_each_mistake_in_a_list_of_networks_is_one_line(
    read: Load, section: str, lists: str, said: str
) -> None:
    [problem] = problems_of(read, f"{ONE_OBJECT}[{section}]\n{lists}\n")
    assert problem.startswith(section + said.format(section=section))


def test_an_address_is_a_network_of_one_and_a_mapped_one_is_ipv4(read: Load) -> None:
    written = '["192.0.2.1", "2001:db8::1", "::ffff:10.0.0.0/104", "::ffff:192.0.2.7", "::/0"]'
    rules = read(f"{ONE_OBJECT}[peer]\ndeny = {written}\n").peer.rules
    assert list(map(str, rules.deny)) == [
        "192.0.2.1/32",
        "2001:db8::1/128",
        "10.0.0.0/8",
        "192.0.2.7/32",
        "::/0",
    ]


def test_a_network_let_in_by_one_list_and_kept_out_by_the_other_is_warned_of(read: Load) -> None:
    lists = 'allow = ["10.1.0.0/16", "192.0.2.0/24"]\ndeny = ["10.0.0.0/8", "192.0.2.0/25"]\n'
    found = [line for line in advise(read(f"{ONE_OBJECT}[tracker]\n{lists}")) if "allow" in line]
    assert found == [
        "tracker.allow[0]: 10.1.0.0/16 lies in tracker.deny, which goes first: nobody of it is"
        " let in"
    ]


# -- [[events]]

QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/uploads"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (QUEUE, "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/111122223333/uploads", "eu-west-1"),
        ("https://sqs-fips.us-east-1.amazonaws.com/1/q", "us-east-1"),
        ("https://vpce-1-2.sqs.us-east-1.vpce.amazonaws.com/1/q", "us-east-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("http://sqs.eu-west-1.localhost.localstack.cloud:4566/1/q", "eu-west-1"),
        ("http://10.0.0.5:9324/queue/uploads", None),
    ],
)
def test_a_queue_is_asked_in_the_region_of_its_url(
    read: Load, url: str, region: str | None
) -> None:
    text = ONE_OBJECT + f'[[events]]\nname = "q"\nsqs = "{url}"\n'
    [source] = read(text).events
    assert source.queue_region == region
    [source] = read(f'{text}region = "elsewhere"\n').events
    assert source.queue_region == "elsewhere"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("", "events[0].name: missing, and it has no default"),
        ('name = "a/b"', 'events[0].name = "a/b": want a name of letters, digits, . _ -'),
        ('name = "a"', "events[0]: want either sqs, a queue's URL, or a webhook's token_file"),
        (
            f'name = "a"\nsqs = "{QUEUE}"\ntoken_file = "t"',
            "events[0]: want either sqs, a queue's URL, or a webhook's token_file",
        ),
        (
            'name = "a"\ntoken_file = "t"\nregion = "eu-west-1"',
            "events[0].region: goes with sqs, and this is a webhook",
        ),
        (
            'name = "a"\ntoken_file = "t"\ntoken_credential = "t"',
            'events[0].token_credential = "t": want either a token_file or a token_credential,'
            " not both",
        ),
        (
            'name = "a"\ntoken = "secret"',
            "events[0].token: unknown key; secrets never stand here: use token_file or"
            " token_credential",
        ),
        (
            'name = "a"\nsqs = "uploads"',
            'events[0].sqs = "uploads": want a URL with http:// or https://, such as'
            ' "https://sqs.eu-central-1.amazonaws.com/111122223333/uploads"',
        ),
        (
            'name = "a"\nsqs = "https://sqs.eu-west-1.amazonaws.com/"',
            'events[0].sqs = "https://sqs.eu-west-1.amazonaws.com/": want the queue\'s URL, which'
            " ends with its name",
        ),
        (
            f'name = "a"\nsqs = "{QUEUE}"\norigin = "other"',
            'events[0].origin = "other": want "default"',
        ),
    ],
)
def test_a_mistake_in_a_source_of_events_is_told(read: Load, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(ONE_OBJECT + f"[[events]]\n{entry}\n")
    assert problem in caught.value.problems


def test_sources_of_events_have_names_of_their_own_and_a_listener(read: Load) -> None:
    entry = '[[events]]\nname = "a"\ntoken_file = "t"\n'
    with pytest.raises(ConfigError) as caught:
        read(f"{ONE_OBJECT}[admin]\nlisten = []\n{entry}{entry}")
    assert list(caught.value.problems) == [
        "events[0]: a webhook needs admin.listen, where it is called",
        "events[1]: a webhook needs admin.listen, where it is called",
        'events[1].name = "a": the name of events[0] too; each has its own',
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-15T18:00:00Z", 1_800_036_000.0),
        ("2027-01-15T19:00:00+01:00", 1_800_036_000.0),
        ("2027-01-15 18:00:00.5Z", 1_800_036_000.5),
    ],
)
def test_a_time_is_one_with_its_offset(read: Load, text: str, moment: float) -> None:
    assert read(f"{ONE_OBJECT}publish_at = {text}\n").objects[0].publish_at == moment


@pytest.mark.parametrize(
    "text", ["2027-01-15T18:00:00", "2027-01-15", "18:00:00", '"2027-01-15T18:00:00Z"', "1", "true"]
)
def test_a_time_without_an_offset_is_refused(read: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{ONE_OBJECT}publish_at = {text}\n")
    [problem] = caught.value.problems
    assert problem.startswith("objects[0].publish_at = ")
    assert problem.endswith(
        "want a date and a time with its offset, without quotes: 2027-01-15T18:00:00Z"
    )


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("private = true", "want public = true, too"),
        ("public = false", "want public = true, too"),
        ('version_id = "v"', "goes with objects in their newest version"),
    ],
)
def test_a_torrent_that_is_not_for_all_is_not_written_beside_its_object(
    read: Load, more: str, problem: str
) -> None:
    assert read(f"{ONE_OBJECT}write_sidecar = true\n").objects[0].write_sidecar
    both = "private = true\npublic = true\nwrite_sidecar = true\n"
    assert read(ONE_OBJECT + both).objects[0].write_sidecar
    with pytest.raises(ConfigError, match=problem):
        read(f"{ONE_OBJECT}write_sidecar = true\n{more}\n")


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_of_a_year_that_utc_does_not_have_is_refused(read: Load, text: str) -> None:
    with pytest.raises(ConfigError, match="want a date between the years 1 and 9999"):
        read(f"{ONE_OBJECT}publish_at = {text}\n")
