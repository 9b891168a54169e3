"""Each value is taken as what it means, or refused with its place and what is wanted."""

import ipaddress
from pathlib import Path

import pytest

from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.units import GIB, MIB
from tests.config.support import ONE_OBJECT, QUEUE, Load, only_problem, problems_of


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


def test_the_certificate_is_named_by_path_or_credential(read: Load, tmp_path: Path) -> None:
    tracker = read(
        f'{ONE_OBJECT}[tracker]\ntls_certificate = "chain.pem"\ntls_key_credential = "key"\n'
    ).tracker
    assert tracker.tls
    assert tracker.tls_certificate == tmp_path / "chain.pem"
    assert tracker.main_listen == tracker.listen == (HostPort("0.0.0.0", 6969),)
    assert not read(ONE_OBJECT).tracker.tls


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
