"""Who may use the control API over TCP: who has the token, and comes from no other site's page.

A browser can't be made to send a token that it hasn't got; Host and Origin are checked all the
same, as on the status page, for a token may have been typed into one.
"""

import hmac
from collections.abc import Callable, Collection
from http import HTTPStatus

from seeder.admin.hosts import is_answered
from seeder.control.operations import Problem
from seeder.http.messages import Request
from seeder.net.buckets import AddressLimiter
from seeder.net.sockets import packed_address

GUESSES_A_SECOND, GUESSES_AT_ONCE = 0.2, 20.0
"""Wrong tokens from one address (IPv6: one /64); after that not even the right one is let in."""
_BEARER = b"bearer "
_CHALLENGE = (b"WWW-Authenticate", b'Bearer realm="seeder"')


def check_origin(request: Request) -> None:
    """Problem 403 where the page of another site asks (RFC 6454, 7)."""
    origins, host = request.all_headers(b"origin"), request.header(b"host")
    for origin in origins:
        scheme, separator, name = origin.partition(b"://")
        if scheme not in (b"http", b"https") or not separator or name != host:
            raise Problem(HTTPStatus.FORBIDDEN, "pages of other sites may not ask: mind Origin")


class TokenDoor:
    """Lets requests in that have the token; None if there is none. `clock` is in seconds."""

    def __init__(
        self, token: str | None, hosts: Collection[str], clock: Callable[[], float]
    ) -> None:
        self._token = b"" if token is None else token.encode()
        self._hosts = frozenset(hosts)
        self._clock = clock
        self._guesses = AddressLimiter(GUESSES_A_SECOND, GUESSES_AT_ONCE)

    def replace(self, token: str | None) -> None:
        """Take another token from now on."""
        self._token = b"" if token is None else token.encode()

    def admits(self, request: Request) -> bool:
        """Tell whether a request would be let in, without counting it."""
        try:
            self._check(request, counted=False)
        except Problem:
            return False
        return True

    def check(self, request: Request) -> None:
        """Problem 401, 403, 421 or 429 where a request isn't let in."""
        self._check(request, counted=True)

    def _check(self, request: Request, *, counted: bool) -> None:
        if not is_answered(request.header(b"host"), self._hosts):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this listener answers to IP addresses, localhost and the names in admin.hosts",
            )
        check_origin(request)
        if not self._token:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "there is no token for the control API over TCP: set admin.token_file, or ask at"
                " the UNIX socket (admin.socket)",
            )
        given = request.all_headers(b"authorization")
        if not given:
            raise _unauthorized("the token is missing: want Authorization: Bearer TOKEN")
        client, now = packed_address(request.peer[0]), self._clock()
        if not self._guesses.would_admit(client, now):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong tokens came from this network; try again later",
                headers=((b"Retry-After", b"10"),),
            )
        if len(given) != 1 or not self._is_right(given[0]):
            if counted:
                self._guesses.admit(client, now)
            raise _unauthorized("the token is wrong")

    def _is_right(self, value: bytes) -> bool:
        if value[: len(_BEARER)].lower() != _BEARER:
            return False
        return hmac.compare_digest(value[len(_BEARER) :].strip(), self._token)


def _unauthorized(why: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, why, headers=(_CHALLENGE,))
