"""Passkeys: what a torrent that is made for somebody has in its announce URL, and nobody else can
make.

A key names its holder and when it was made and ends, in the clear. It is signed together with the
info hash, so that it opens this torrent and no other. Nobody has to keep it.

No I/O.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from urllib.parse import unquote

from seeder.torrent.info import InfoHash

LONGEST_HOLDER = 64
"""Bytes of a holder's name in UTF-8: the key has a third more, and URLs have to stay short."""
LEAST_SECRET = 16
"""Bytes of the secret that keys are signed with."""
MOST_SECRET = 128
LATEST_SECOND = 2**32 - 1
"""The last second (Unix) that a key can name, in 2106."""

_VERSION = 1
_HEAD = Struct(">BII")
_CODE_LENGTH = 16
_DOMAIN = b"seeder passkey\0"
"""Signed with every key, so that the secret's codes are good for nothing else."""
_FIRST = 1_500_000_000
"""Unix seconds before which no key was made."""
_RUN = re.compile(r"[\w%-]{35,}", re.ASCII)
"""What is as long as a key, encoded or not; the shortest has 35 characters."""
_MOST_ENCODED = 4
"""How often a key may have been percent-encoded: by a client, a proxy, and those that log."""
_BEGIN = re.compile(r"(?=(A[Q-Za-f][\w-]{10})[\w-]{20})", re.ASCII)
"""What begins as a key: the version, then the times."""
_LONGEST = -(-4 * (_HEAD.size + LONGEST_HOLDER + _CODE_LENGTH) // 3)


class Passkey(NamedTuple):
    """What a key says; times in Unix seconds."""

    holder: str
    issued: int
    expires: int
    """The first second in which it is good no more."""


class PasskeySigner:
    """Makes and reads keys; whoever has the same secret reads the same keys.

    Keys that were signed with one of the `others` are read, too. ValueError for a short secret.
    """

    def __init__(self, secret: bytes, *others: bytes) -> None:
        if min(map(len, (secret, *others))) < LEAST_SECRET:
            raise ValueError(f"a secret has {LEAST_SECRET} bytes at least")
        self._secrets = (secret, *others)

    def sign(self, passkey: Passkey, info_hash: InfoHash) -> str:
        """Return a key as text for URLs, of letters, digits, - and _."""
        body = _HEAD.pack(_VERSION, passkey.issued, passkey.expires) + passkey.holder.encode()
        code = _code(self._secrets[0], body, info_hash)
        return urlsafe_b64encode(body + code).rstrip(b"=").decode()

    def read(self, key: bytes, info_hash: InfoHash) -> Passkey | None:
        """Return what a key for a torrent says; None if it wasn't signed for that torrent."""
        if len(key) > _LONGEST:
            return None
        try:
            data = urlsafe_b64decode(key + b"=" * (-len(key) % 4))
        except NotBase64:
            return None
        body, code = data[:-_CODE_LENGTH], data[-_CODE_LENGTH:]
        for secret in self._secrets:
            if hmac.compare_digest(code, _code(secret, body, info_hash)):
                break
        else:
            return None
        # One key has one spelling, though base64 has several.
        if urlsafe_b64encode(data).rstrip(b"=") != key:
            return None
        version, issued, expires = _HEAD.unpack_from(body)
        if version != _VERSION:
            return None
        return Passkey(body[_HEAD.size :].decode(), issued, expires)


def _code(secret: bytes, body: bytes, info_hash: InfoHash) -> bytes:
    return hmac.digest(secret, _DOMAIN + info_hash + body, sha256)[:_CODE_LENGTH]


def is_secret(text: str) -> bool:
    """Tell whether a text can be a secret: characters of ASCII, without blanks."""
    return LEAST_SECRET <= len(text) <= MOST_SECRET and all("!" <= each <= "~" for each in text)


def hide_passkeys(text: str) -> str:
    """Return a text for people with "..." in place of all that reads as a key, good or not.

    Whoever sees a log or a report could use one. It may be percent-encoded, more than once.
    """
    return _RUN.sub(_hidden, text)


def _hidden(run: re.Match[str]) -> str:
    plain = run[0]
    for _ in range(_MOST_ENCODED):
        plain = unquote(plain, "latin-1")
    found = next((match.start() for match in _BEGIN.finditer(plain) if _begins_key(match[1])), None)
    # Of what is encoded, it isn't worth knowing where the key begins.
    shown = plain[:found] if plain == run[0] else ""
    return run[0] if found is None else f"{shown}..."


def _begins_key(text: str) -> bool:
    version, issued, expires = _HEAD.unpack(urlsafe_b64decode(text))
    return bool(version == _VERSION and _FIRST <= issued < expires)


def check_holder(name: str) -> str:
    """Return a holder's name; ValueError says what is wrong with it.

    Spaces, capitals and letters of every script are welcome; what can't be seen isn't.
    """
    if not name or name != name.strip():
        raise ValueError("want a name without blanks around it")
    if not name.isprintable():
        raise ValueError("want a name of letters, digits and signs that can be seen")
    if len(name.encode()) > LONGEST_HOLDER:
        raise ValueError(f"want at most {LONGEST_HOLDER} bytes, as UTF-8 has them")
    return name
