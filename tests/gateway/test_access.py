"""Who may have an object: everybody the public ones, keys the others that they are for."""

import pytest

from seeder.gateway.access import Keyring, ReadKey
from seeder.http.messages import Request
from tests.gateway.signing import KEY_ID, NOW, SECRET, signed, url_of
from tests.gateway.support import Public, error_code, header


def access(*objects: str, keys: bool = True) -> Public:
    """Return the routes where READER may read some objects beside the public ones."""
    reader = ReadKey(KEY_ID, SECRET, objects)
    return Public(keyring=Keyring([reader] if keys else []), now=NOW)


def request_for(
    key: str, *, bucket: str = "quotes", sign: bool = True, secret: str = SECRET
) -> Request:
    arrived = signed(url_of(f"{bucket}/{key}", [("torrent", None)]), secret=secret)
    headers = [each for each in arrived.headers if sign or each[0] != b"authorization"]
    address = ("192.0.2.1", 1)
    return Request(b"GET", arrived.path, arrived.query, headers, address, address)


def refused(asked: Public, request: Request) -> str | None:
    response = asked.ask(request)
    assert response.status >= 400
    return error_code(response)


def is_public(asked: Public, request: Request) -> bool:
    """Tell whether what is served may be kept for others."""
    response = asked.ask(request)
    assert response.status == 200
    return header(response, b"Cache-Control") == b"no-cache"


def test_a_public_object_is_anybody_s_who_does_not_sign_wrongly() -> None:
    asked = access("other/*")
    assert is_public(asked, request_for("Nelson", sign=False))
    assert is_public(asked, request_for("Nelson"))
    wrong = request_for("Nelson", secret="another")
    assert refused(asked, wrong) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("objects", "key", "allowed"),
    [
        (["quotes/*"], "secret/a/b", True),
        (["*/*"], "secret\nline", True),
        (["quotes/secret"], "secret", True),
        (["quotes/s*t", "quotes/x"], "secret", True),
        (["quotes/secret*.bin"], "secret/a.bin", True),
        (["quotes/secret"], "secrets", False),
        (["quotes/secret.*"], "secretX", False),
        (["quotes/s[e]cret"], "secret", False),
        (["quote/*", "uotes/*"], "secret", False),
        (["quotes/Secret"], "secret", False),
    ],
)
def test_the_others_are_for_keys_that_may_read_them(
    objects: list[str], key: str, allowed: bool
) -> None:
    asked = access(*objects)
    assert refused(asked, request_for(key, sign=False)) == "AccessDenied"
    if allowed:
        assert not is_public(asked, request_for(key))
    else:
        assert refused(asked, request_for(key)) == "AccessDenied"


def test_a_wrong_signature_learns_nothing_of_what_there_is() -> None:
    wrong = request_for("key", bucket="missing", secret="another")
    assert refused(access("*/*"), wrong) == "SignatureDoesNotMatch"
    right = request_for("key", bucket="missing")
    assert refused(access("*/*"), right) == "NoSuchBucket"


def test_without_keys_no_signature_is_looked_at() -> None:
    asked = access(keys=False)
    assert is_public(asked, request_for("Nelson"))
    assert refused(asked, request_for("secret")) == "AccessDenied"


def test_another_keyring_holds_from_the_next_request_on() -> None:
    keyring = Keyring([ReadKey(KEY_ID, SECRET, ("*/*",))])
    asked = Public(keyring=keyring, now=NOW)
    assert not is_public(asked, request_for("secret"))
    keyring.replace([ReadKey("OTHER", SECRET, ("*/*",))])
    assert refused(asked, request_for("secret")) == "InvalidAccessKeyId"


def test_a_key_does_not_show_its_secret() -> None:
    assert SECRET not in repr(ReadKey(KEY_ID, SECRET, ()))
