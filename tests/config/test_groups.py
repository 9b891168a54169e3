"""[tracker.groups]: networks by name, each mistake in one line that says what to write."""

import ipaddress

import pytest

from seeder.config.groups import MOST_GROUPS, explain_groups
from seeder.errors import ConfigError
from seeder.net.addresses import HostPort
from seeder.net.groups import OTHERS, Groups
from tests.config.support import ONE_OBJECT, Load

ABOVE = f"{ONE_OBJECT}[tracker]\n"
NETWORK = ipaddress.ip_network


@pytest.fixture
def read(read: Load) -> Load:
    """Load what stands in [tracker], and below it."""
    return lambda text: read(ABOVE + text)


def test_networks_of_both_families_are_read_by_name(read: Load) -> None:
    config = read(
        '[tracker.groups]\n"eu/a" = ["10.1.0.0/16", "2001:db8:a::/48"]\n'
        'office = "198.51.100.7"\nbüro-1 = ["::ffff:203.0.113.0/120"]\n'.replace(
            "büro-1", '"büro-1"'
        )
    )
    assert config.tracker.groups == {
        "eu/a": (NETWORK("10.1.0.0/16"), NETWORK("2001:db8:a::/48")),
        "office": (NETWORK("198.51.100.7/32"),),
        "büro-1": (NETWORK("203.0.113.0/24"),),
    }
    assert read("").tracker.groups == {}
    assert read("[tracker.groups]\n").tracker.groups == {}


NAME = 'want a name of letters, digits, ".", "_" and "-" such as "office", with "/" between'


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('a = ["10.1.2.3/16"]', 'a[0] = "10.1.2.3/16": has address bits behind the prefix; did'),
        ('a = ["eu-west-1"]', 'a[0] = "eu-west-1": want a network such as "10.0.0.0/8"'),
        ("a = [7]", "a[0] = 7: want a network"),
        ("a = []", "a = []: want its networks, such as"),
        ("a = 5", "a = 5: want its networks, such as"),
        ('"" = ["10.0.0.0/8"]', f'"" = ["10.0.0.0/8"]: {NAME}'),
        ('"a b" = ["10.0.0.0/8"]', f'"a b" = ["10.0.0.0/8"]: {NAME}'),
        ('"a/" = ["10.0.0.0/8"]', f'"a/" = ["10.0.0.0/8"]: {NAME}'),
        ('"a//b" = ["10.0.0.0/8"]', f'"a//b" = ["10.0.0.0/8"]: {NAME}'),
        ('"a\\"" = ["10.0.0.0/8"]', f'"a\\"" = ["10.0.0.0/8"]: {NAME}'),
        ('"a\\n" = ["10.0.0.0/8"]', f'"a\\n" = ["10.0.0.0/8"]: {NAME}'),
        ('"a{b}" = ["10.0.0.0/8"]', f'"a{{b}}" = ["10.0.0.0/8"]: {NAME}'),
        (f'{"x" * 101} = ["10.0.0.0/8"]', NAME),
        ('others = ["10.0.0.0/8"]', 'want another name: "others" are all addresses that are in no'),
        ('"others/x" = ["10.0.0.0/8"]', "want another name"),
        (
            '"10.1.0.0/16" = "eu/a"',
            'want the name first, then its networks: "eu/a" = ["10.1.0.0/16"]',
        ),
        (
            '"10.1.0.0/16" = ["a"]',
            'want the name first, then its networks: "office" = ["10.1.0.0/16',
        ),
        ('eu.a = ["10.1.0.0/16"]', 'with a slash: "eu/a" = ["10.1.0.0/16"]'),
        ('interval = "30m"', 'interval = "30m": is a key of [tracker]: write it above the line'),
        ("peers_per_address = 7", "is a key of [tracker]: write it above the line"),
        ('udp_listen = ["0.0.0.0:6969"]', "is a key of [tracker]: write it above the line"),
        ('a = ["10.0.0.0/8"]\nb = ["10.0.0.0/8"]', 'b[0] = "10.0.0.0/8": is in group "a" already'),
        ('a = ["10.0.0.0/8", "10.0.0.0/8"]', 'a[1] = "10.0.0.0/8": is in group "a" already'),
        ('a = ["10.0.0.0/8"]\nb = "::ffff:10.0.0.0/104"', 'b = "::ffff:10.0.0.0/104": is in group'),
    ],
)
def test_a_mistake_is_one_line(read: Load, table: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"[tracker.groups]\n{table}\n")
    [line] = caught.value.problems
    assert line.startswith("tracker.groups.")
    assert line.isprintable()
    assert problem in line


def test_all_mistakes_are_told_at_once(read: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        read('interval = 5\n[tracker.groups]\na = ["x"]\n"b c" = ["::/0"]\nd = ["10.0.0.1/8"]\n')
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("text", ['groups = ["10.0.0.0/8"]', "groups = 5", "[[tracker.groups]]"])
def test_what_is_no_table_is_told_its_form(read: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{text}\n")
    [line] = caught.value.problems
    assert "want a table headed [tracker.groups], with lines such as office =" in line


def test_a_slash_without_quotes_is_explained(read: Load) -> None:
    with pytest.raises(ConfigError, match="a name with a slash stands in quotes"):
        read('[tracker.groups]\neu/a = ["10.0.0.0/8"]\n')


def test_there_are_as_many_groups_as_can_be_told_apart(read: Load) -> None:
    lines = [f'r{each} = ["10.{each // 256}.{each % 256}.0/24"]' for each in range(MOST_GROUPS + 1)]
    assert len(read("[tracker.groups]\n" + "\n".join(lines[:-1])).tracker.groups) == MOST_GROUPS
    with pytest.raises(ConfigError, match="want at most 1000 groups"):
        read("[tracker.groups]\n" + "\n".join(lines))


def test_the_narrowest_network_decides_whatever_the_order() -> None:
    networks = {
        "eu": [NETWORK("10.0.0.0/8")],
        "eu/a": [NETWORK("10.1.0.0/16"), NETWORK("2001:db8:a::/48")],
        "eu/a/7": [NETWORK("10.1.7.0/24"), NETWORK("10.1.8.1")],
        "us": [NETWORK("::ffff:9.0.0.0/104"), NETWORK("2001:db8:a:1::/64")],
        "rest": [NETWORK("0.0.0.0/0")],
    }
    for names in (list(networks), list(reversed(networks))):
        groups = Groups({name: networks[name] for name in names})
        for address, name in {
            "10.2.0.1": "eu",
            "10.1.0.1": "eu/a",
            "10.1.7.1": "eu/a/7",
            "10.1.8.1": "eu/a/7",
            "10.1.8.2": "eu/a",
            "9.1.1.1": "us",
            "8.8.8.8": "rest",
            "2001:db8:a::1": "eu/a",
            "2001:db8:a:1::1": "us",
            "2001:db8:b::1": OTHERS,
        }.items():
            packed = ipaddress.ip_address(address).packed
            assert groups.names[groups.of(packed)] == name
            assert groups.names[groups.of(packed)] == name


def test_names_that_begin_alike_are_near_the_more_the_nearer() -> None:
    names = ["eu", "eu-x/a", "eu/a", "eu/a/1", "eu/a/2", "eu/b", "us"]
    groups = Groups({name: [NETWORK(f"{at + 1}.0.0.0/8")] for at, name in enumerate(names)})
    assert groups.near("eu/a/1") == ("eu/a", "eu/a/2", "eu", "eu/b") or groups.near("eu/a/1") == (
        "eu/a/2",
        "eu/a",
        "eu",
        "eu/b",
    )
    assert set(groups.near("eu/a")[:2]) == {"eu/a/1", "eu/a/2"}
    assert set(groups.near("eu/a")[2:]) == {"eu", "eu/b"}
    assert groups.near("eu-x/a") == groups.near("us") == groups.near(OTHERS) == ()
    # Each group is in one ring around each.
    for rings in groups.rings:
        every = [number for ring in rings for span in ring for number in range(*span)]
        assert sorted(every) == list(range(len(groups.names)))


def test_check_explains_the_groups_and_where_our_seeder_is() -> None:
    networks = {
        "eu/a": (NETWORK("10.1.0.0/16"), NETWORK("2001:db8::/48")),
        "eu/b": (NETWORK("10.2.0.0/16"),),
        "us": (NETWORK("10.3.0.0/16"),),
    }
    own = (HostPort("10.2.0.9", 6881), HostPort("2001:db8:9::1", 6881), HostPort("name.example", 1))
    assert list(explain_groups(networks, own)) == [
        "tracker.groups: eu/a: 10.1.0.0/16, 2001:db8::/48; near: eu/b",
        "tracker.groups: eu/b: 10.2.0.0/16; near: eu/a",
        "tracker.groups: us: 10.3.0.0/16; near: none",
        "tracker.groups: our own seeder at 10.2.0.9: eu/b",
        "tracker.groups: our own seeder at 2001:db8:9::1: others",
    ]
    assert not list(explain_groups({}, own))
    many = {f"r{number}": (NETWORK(f"10.{number}.0.0/16"),) for number in range(50)}
    assert list(explain_groups(many, ()))[-1] == "tracker.groups: and 30 more"
