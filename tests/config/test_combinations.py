"""Values that are right alone and don't go together are told in one line."""

from pathlib import Path

import pytest

from seeder.errors import ConfigError
from tests.config.support import ONE_OBJECT, QUEUE, Load, only_problem, problems_of

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


def test_a_tracker_behind_a_proxy_needs_to_know_where_peers_reach_us(read: Load) -> None:
    proxied = f'{ONE_OBJECT}[tracker]\ntrusted_proxies = ["10.0.0.0/8"]\n'
    with pytest.raises(ConfigError) as caught:
        read(proxied)
    [problem] = caught.value.problems
    assert problem.startswith("peer.public_address: is needed")
    read(f'{proxied}[peer]\npublic_address = "203.0.113.7:6881"\n')


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
