"""Who may have an object: everybody the public ones, keys the others that they are for."""

import pytest

from seeder.gateway.access import Authorisation, Keyring, ReadKey, Terms
from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request
from tests.gateway.signing import KEY_ID, NOW, SECRET, signed, url_of

OWNER = "111122223333"


class Objects:
    """Holds quotes/Nelson for everybody, and whatever begins with `secret` for some."""

    def terms(self, bucket: str, key: str) -> Terms:
        if bucket != "quotes":
            raise S3Error("NoSuchBucket", "none")
        return Terms(not key.startswith("secret"), OWNER, False)


def authorisation(*objects: str, keys: bool = True) -> Authorisation:
    reader = ReadKey(KEY_ID, SECRET, objects)
    return Authorisation(Objects(), Keyring([reader] if keys else []), lambda: NOW)


def request_for(
    key: str, *, bucket: str = "quotes", sign: bool = True, secret: str = SECRET
) -> Request:
    arrived = signed(url_of(f"{bucket}/{key}", [("torrent", None)]), secret=secret)
    headers = [each for each in arrived.headers if sign or each[0] != b"authorization"]
    address = ("192.0.2.1", 1)
    return Request(b"GET", arrived.path, arrived.query, headers, address, address)


def refused(asked: Authorisation, request: Request, key: str, bucket: str = "quotes") -> str:
    with pytest.raises(S3Error) as caught:
        asked.authorise(request, bucket, key)
    return caught.value.code


def test_a_public_object_is_anybody_s_who_does_not_sign_wrongly() -> None:
    asked = authorisation("other/*")
    assert asked.authorise(request_for("Nelson", sign=False), "quotes", "Nelson").public
    assert asked.authorise(request_for("Nelson"), "quotes", "Nelson").public
    wrong = request_for("Nelson", secret="another")
    assert refused(asked, wrong, "Nelson") == "SignatureDoesNotMatch"


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
    asked = authorisation(*objects)
    assert refused(asked, request_for(key, sign=False), key) == "AccessDenied"
    if allowed:
        assert not asked.authorise(request_for(key), "quotes", key).public
    else:
        assert refused(asked, request_for(key), key) == "AccessDenied"


def test_a_wrong_signature_learns_nothing_of_what_there_is() -> None:
    wrong = request_for("key", bucket="basket", secret="another")
    assert refused(authorisation("*/*"), wrong, "key", "basket") == "SignatureDoesNotMatch"
    right = request_for("key", bucket="basket")
    assert refused(authorisation("*/*"), right, "key", "basket") == "NoSuchBucket"


def test_without_keys_no_signature_is_looked_at() -> None:
    asked = authorisation(keys=False)
    assert asked.authorise(request_for("Nelson"), "quotes", "Nelson").public
    assert refused(asked, request_for("secret"), "secret") == "AccessDenied"


def test_another_keyring_holds_from_the_next_request_on() -> None:
    keyring = Keyring([ReadKey(KEY_ID, SECRET, ("*/*",))])
    asked = Authorisation(Objects(), keyring, lambda: NOW)
    asked.authorise(request_for("secret"), "quotes", "secret")
    keyring.replace([ReadKey("OTHER", SECRET, ("*/*",))])
    assert refused(asked, request_for("secret"), "secret") == "InvalidAccessKeyId"


def test_a_key_does_not_show_its_secret() -> None:
    assert SECRET not in repr(ReadKey(KEY_ID, SECRET, ()))
