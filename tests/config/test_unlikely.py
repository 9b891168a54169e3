"""What may be written, and nobody means, is warned of; what is usual isn't."""

from pathlib import Path

import pytest

from seeder.config.load import load
from seeder.config.unlikely import doubt

KEY = 'key = "Nelson"'
ADDRESSES = (
    '[tracker]\nannounce_url = "http://t.seeder.io:6969/announce"\n'
    '[peer]\npublic_address = "198.41.0.4:6881"\n'
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"{name}_DIRECTORY", f"/var/lib/{name.lower()}-of-nobody")
    return tmp_path


def doubts(
    home: Path, text: str = ADDRESSES, entry: str = KEY, bucket: str = "quotes"
) -> list[str]:
    path = home / "seeder.toml"
    path.write_text(f'{text}\n[[objects]]\nbucket = "{bucket}"\n{entry}\n')
    return list(doubt(load(path)))


def test_nothing_is_said_of_what_is_usual(home: Path) -> None:
    assert doubts(home) == []
    usual = ("a b.iso", "2026/a_b", "%.txt", "100%", "é/ü", ".hidden", "a..b/c.", "it´s", "[1].iso")
    for name in (*usual, "{x}", "a-[b]", "x:y", "C:a", "a=b&c", "arn", "'"):
        assert doubts(home, entry=f'key = "{name}"') == [], name
    for bucket in ("www.seeder.io", "s3-logs", "my.s3bucket", "Quotes", "tenant:quotes"):
        assert doubts(home, entry=KEY, bucket=bucket) == [], bucket
    for name in ("", "datasets/2026/", "a-"):
        assert doubts(home, entry=f"prefix = '{name}'") == [], name


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("key = '*.iso'", 'no patterns, this is a name; for all below it: prefix = "" (the whole'),
        ("key = 'a/*'", 'prefix = "a/"'),
        ("key = 'a?.iso'", 'prefix = "a"'),
        ("prefix = 'a/*'", 'prefix = "a/"'),
        ("key = 'a/{b,c}.iso'", 'prefix = "a/"'),
        ("key = 'part[0-9].iso'", 'prefix = "part"'),
        (
            "key = 'Nelson?versionId=3HL4'",
            "leave it out from the ? on; a version is named by version_id",
        ),
        ("key = 'Nelson?torrent'", "leave it out from the ? on"),
        ("key = '/Nelson'", "seldom begin with a slash"),
        ("prefix = '/a/'", "seldom begin with a slash"),
        ("key = 's3://quotes/Nelson'", "this is a URL"),
        ("key = 'S3://quotes/Nelson'", "this is a URL"),
        ("key = 'gs://quotes/Nelson'", "this is a URL"),
        ("key = 'https:/Nelson'", "this is a URL"),
        ("key = 'arn:aws:s3:::quotes/Nelson'", "this is an ARN"),
        ("key = './Nelson'", "no . and .. between slashes"),
        ("prefix = '../a/'", "no . and .. between slashes"),
        ("key = 'a/./b/../c'", "no . and .. between slashes"),
        ("key = '\"Nelson\"'", "in quotes twice"),
        ("key = 'quotes/Nelson'", "begins with the name of its bucket"),
        ("key = ' Nelson'", "begins or ends with a blank"),
        ("key = 'a%20b'", "not percent-encoded"),
        ("key = 'a\\b'", "seldom backslashes"),
        ("prefix = 'a//'", "two slashes in a row"),
        ("key = 'a/'", 'it ends with a slash; for all below it: prefix = "a/"'),
        ("key = 'a.torrent'", "this is a torrent"),
    ],
)
def test_names_that_are_no_keys(home: Path, entry: str, why: str) -> None:
    [line] = doubts(home, entry=entry)
    assert line.startswith(f"objects[0].{entry.partition(' ')[0]}: quotes/")
    assert why in line


@pytest.mark.parametrize(
    ("bucket", "why"),
    [
        ("arn:aws:s3:::quotes", "this is an ARN"),
        ("quotes.s3.amazonaws.com", "looks like a host"),
        ("quotes.s3.eu-west-1.amazonaws.com", "looks like a host"),
    ],
)
def test_names_that_are_no_buckets(home: Path, bucket: str, why: str) -> None:
    [line] = doubts(home, bucket=bucket)
    assert line.startswith(f"objects[0].bucket: {bucket}: ")
    assert why in line


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("localhost", "another machine"),
        ("127.0.0.1", "another machine"),
        ("[::1]", "another machine"),
        ("0.0.0.0", "another machine"),
        ("nas.local", "another machine"),
        ("10.0.0.5", "is private"),
        ("192.168.1.2", "is private"),
        ("172.20.0.1", "is private"),
        ("100.64.1.1", "is private"),
        ("169.254.1.1", "is private"),
        ("[fd00::1]", "is private"),
        ("203.0.113.7", "for examples"),
        ("[2001:db8::7]", "for examples"),
        ("tracker.example.org", "for examples"),
        ("tracker", "your own network"),
        ("seeder.home.arpa", "another machine"),
        ("255.255.255.255", "no host"),
        ("240.0.0.1", "no host"),
        ("[64:ff9b::a00:1]", "no host"),
        ("[2002:a00:1::1]", "no host"),
        ("[::ffff:10.0.0.1]", "is private"),
        ("[::ffff:127.0.0.1]", "another machine"),
    ],
)
def test_addresses_at_which_nobody_reaches_us(home: Path, host: str, why: str) -> None:
    public = '[peer]\npublic_address = "198.41.0.4:6881"\n'
    announce = f'[tracker]\nannounce_url = "http://{host}:6969/announce"\n'
    [line] = doubts(home, announce + public)
    assert line.startswith(f"tracker.announce_url: http://{host}:6969/announce: ")
    assert why in line
    [line] = doubts(home, f'{ADDRESSES}[gateway]\nurl = "http://{host}:6969"\n')
    assert line.startswith("gateway.url: ")
    assert why in line
    if host != "0.0.0.0":  # a mistake
        announce = '[tracker]\nannounce_url = "http://t.seeder.io:6969/announce"\n'
        [line] = doubts(home, f'{announce}[peer]\npublic_address = "{host}:6881"\n')
        assert line.startswith(f"peer.public_address: {host}:6881: ")
        assert why in line


@pytest.mark.parametrize(
    ("url", "public", "line"),
    [
        (
            "http://t.seeder.io:6881/announce",
            "198.41.0.4:6881",
            "peer.listen has port 6881; want that of tracker",
        ),
        (
            "http://t.seeder.io:9180/announce",
            "198.41.0.4:6881",
            "admin.listen has port 9180; want that of tracker",
        ),
        (
            "http://t.seeder.io:6969/announce",
            "198.41.0.4:6969",
            "tracker.listen has port 6969; want that of peer",
        ),
        (
            "http://t.seeder.io:6969/announce",
            "p.seeder.io:9180",
            "admin.listen has port 9180; want that of peer",
        ),
    ],
)
def test_a_port_at_which_another_part_listens(home: Path, url: str, public: str, line: str) -> None:
    text = f'[tracker]\nannounce_url = "{url}"\n[peer]\npublic_address = "{public}"\n'
    [found] = doubts(home, text)
    assert line in found
    # Ports that a router or a proxy maps are its own affair.
    for port in (80, 443, 51413):
        assert (
            doubts(
                home,
                text.replace(url, f"http://t.seeder.io:{port}/announce").replace(
                    public, f"198.41.0.4:{port + 1}"
                ),
            )
            == []
        )


BEFORE = "http://t.seeder.io:6969/announce"
UDP = ADDRESSES.replace("[peer]", 'udp_listen = ["0.0.0.0:6969"]\n[peer]')


@pytest.mark.parametrize(
    ("key", "value", "start"),
    [
        ("tracker.udp_listen", '["127.0.0.1:6969"]', ": this machine alone reaches 127.0.0.1:6969"),
        ("tracker.udp_listen", '["[::]:6969"]', ": [::]:6969 is IPv6 alone"),
        ("tracker.udp_announce_url", '"udp://localhost:6969"', ": udp://localhost:6969: means"),
        ("tracker.udp_announce_url", '"udp://10.0.0.1:6969"', ": udp://10.0.0.1:6969: is private"),
        (
            "tracker.udp_announce_url",
            '"udp://u.seeder.io:6881"',
            ": udp://u.seeder.io:6881: peer.listen has port 6881; want that of tracker.udp_listen",
        ),
        ("tracker.announce_list", '["udp://a.seeder.io:1", "http://localhost/announce"]', "[1]: h"),
        ("tracker.announce_list", '["udp://a.seeder.io:1", "udp://tracker:1"]', "[1]: udp://track"),
        ("tracker.announce_list", f'["{BEFORE}"]', f"[0]: {BEFORE}: torrents name it already"),
        (
            "tracker.announce_list",
            '["udp://a.io:1", "udp://a.io:1"]',
            "[1]: udp://a.io:1: torrents",
        ),
        (
            "gateway.web_seeds",
            '["https://m.seeder.io/{key}", "http://10.0.0.1/{key}"]',
            "[1]: http",
        ),
        (
            "gateway.web_seeds",
            '["https://{bucket}.lan/{key}"]',
            "[0]: https://{bucket}.lan/{key}: m",
        ),
        ("gateway.web_seeds", '["https://m.io/{key}", "https://m.io/{key}"]', "[1]: https://m.io/"),
    ],
)
def test_what_is_odd_of_a_url_or_a_listener_is_odd_of_each(
    home: Path, key: str, value: str, start: str
) -> None:
    section, _, name = key.partition(".")
    text = ADDRESSES if key == "tracker.udp_listen" else UDP
    setting = f"{name} = {value}\n"
    if section == "tracker":
        text = text.replace("[peer]", f"{setting}[peer]")
    else:
        text += f"[{section}]\n{setting}"
    [line] = doubts(home, text)
    assert line.startswith(key + start)


def test_a_url_for_udp_that_nothing_listens_for(home: Path) -> None:
    url = "udp://u.seeder.io:6969/announce"
    for text, expected in (
        (UDP, []),
        (ADDRESSES, [f"tracker.udp_announce_url: {url}: tracker.udp"]),
    ):
        found = doubts(home, text.replace("[peer]", f'udp_announce_url = "{url}"\n[peer]'))
        assert [line[:70] for line in found] == [line[:70] for line in expected]


def test_mirrors_and_other_trackers_are_usual(home: Path) -> None:
    text = UDP.replace("[peer]", 'announce_list = ["udp://t.example.io:6969/announce"]\n[peer]')
    mirrors = '[gateway]\nweb_seeds = ["https://{bucket}.mirror.io/{key}"]\n'
    assert doubts(home, text + mirrors) == []


def test_a_trial_on_this_machine_alone_is_meant(home: Path) -> None:
    text = (
        '[tracker]\nlisten = ["127.0.0.1:6969"]\nannounce_url = "http://localhost:6969/announce"\n'
        '[peer]\nlisten = ["127.0.0.1:6881"]\npublic_address = "127.0.0.1:6881"\n'
    )
    assert doubts(home, text) == []


SHARED = ADDRESSES.replace("http:", "https:")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (f'{ADDRESSES}listen = ["127.0.0.1:6881"]\n', "peer.listen: this machine alone"),
        (
            ADDRESSES.replace("[peer]", 'listen = ["127.0.0.1:6969"]\n[peer]'),
            "tracker.listen: this machine alone",
        ),
        (
            f'{ADDRESSES}listen = ["[::]:6882"]\n',
            "peer.listen: [::]:6882 is IPv6 alone, and clients without it can't connect; add \"0.",
        ),
        (SHARED, "tracker.trusted_proxies: is empty, and announce_url is https"),
        (f'{ADDRESSES}[admin]\nlisten = ["0.0.0.0:9180"]\n', "admin.listen: 0.0.0.0:9180: whoever"),
        (
            f'{ADDRESSES}[cache]\nmemory = "1 MiB"\ndisk = "0 B"\n',
            "cache: 1 MiB of memory and disk together",
        ),
        (f'{ADDRESSES}[cache]\ndirectory = "/tmp/pieces"\n', "cache.directory: /tmp/pieces is"),
        (f'state_directory = "/run/s"\n{ADDRESSES}', "state_directory: /run/s is emptied"),
        (
            ADDRESSES.replace("[peer]", 'interval = "5s"\n[peer]'),
            "tracker.interval: each client announces every 5 s",
        ),
        (f"{ADDRESSES}[budget]\norigin_requests_per_day = 0\n", "budget.origin_requests_per_day"),
        (
            f'{ADDRESSES}[origin]\nendpoint = "http://127.0.0.1:9000"\n',
            "origin.path_style: 127.0.0.1 has no names below it",
        ),
        (
            f'{ADDRESSES}[origin]\nendpoint = "https://s3.eu-west-1.amazonaws.com"\n',
            'origin.region: is "us-east-1", and the endpoint is in eu-west-1',
        ),
        (
            f'{ADDRESSES}[origins.b]\nendpoint = "https://quotes.s3.us-east-1.amazonaws.com"\n',
            "origins.b.endpoint: names the bucket quotes",
        ),
        (
            f'{ADDRESSES}[[events]]\nname = "a"\nsqs = "https://sqs.eu-west-1.amazonaws.com/1/b"\n'
            '[[events]]\nname = "b"\nsqs = "https://sqs.eu-west-1.amazonaws.com/1/b.fifo"\n',
            "events[1].sqs: a FIFO queue gives no message before",
        ),
    ],
)
def test_values_that_work_against_what_is_meant(home: Path, text: str, start: str) -> None:
    [line] = doubts(home, text)
    assert line.startswith(start)


def test_pieces_that_the_cache_hardly_holds_and_hasty_questions(home: Path) -> None:
    [line] = doubts(
        home,
        f'{ADDRESSES}[cache]\nmemory = "16 MiB"\ndisk = "1 GiB"\n',
        f'{KEY}\npiece_length = "32 MiB"',
    )
    assert line.startswith("cache.memory: a piece of 32 MiB doesn't fit 16 MiB; want 128 MiB")
    [line] = doubts(home, entry=f'{KEY}\nrefresh = "2s"')
    assert line.startswith("objects.refresh: S3 is asked for quotes/Nelson every 2 s")


def test_a_node_with_a_certificate_is_not_taken_for_one_behind_a_proxy(home: Path) -> None:
    files = 'tls_certificate = "c"\ntls_key = "k"\n'
    text = SHARED.replace("[tracker]\n", f"[tracker]\n{files}")
    assert doubts(home, text) == []
    both = text.replace(files, f'{files}tls_listen = ["0.0.0.0:443"]\n')
    assert doubts(home, both.replace(":6969", "")) == []
    # The port of the URL is that of the plain listener.
    [line] = doubts(home, both)
    assert line.startswith(
        "tracker.announce_url: https://t.seeder.io:6969/announce: tracker.listen"
    )
    assert line.endswith("want that of tracker.tls_listen")


def test_a_url_without_tls_where_there_is_nothing_but_tls_is_warned_of(home: Path) -> None:
    files = 'tls_certificate = "c"\ntls_key = "k"\n'
    text = ADDRESSES.replace("[tracker]\n", f"[tracker]\n{files}")
    [line] = doubts(home, text)
    assert line.startswith("tracker.announce_url: http://t.seeder.io:6969/announce: tracker.listen")
    assert "write https://" in line
    assert doubts(home, text.replace(files, f'{files}tls_listen = ["0.0.0.0:443"]\n')) == []
