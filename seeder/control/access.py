"""Who may use the control API over TCP: who has the token, and comes from no other site's page.

A browser can't be made to send a token that it hasn't got; Host and Origin are checked all the
same, as on the status page, for a token may have been typed into one.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable, Collection
from http import HTTPStatus
from math import inf

from seeder.admin.hosts import is_answered
from seeder.control.operations import Problem
from seeder.http.headers import bearer_token
from seeder.http.messages import Request
from seeder.net.addresses import networks_of

GUESSES_A_SECOND, GUESSES_AT_ONCE = 0.2, 20.0
"""Wrong tokens of one beginning from one address (IPv6: one /64); after that not even the right one
of them is let in."""
ALL_GUESSES_A_SECOND, ALL_GUESSES_AT_ONCE = 10.0, 1000.0
"""Wrong tokens in sum, of all beginnings and networks; a further one is told what one is told that
comes too often, and isn't remembered unless it begins as the right one does. The right one is let
in all the same: if strangers could use up what is left for it, they would shut out who has it."""
_BEGINNING = 4
"""Characters. Who guesses has to try them all; so who has the token isn't shut out by others at the
same address (behind a proxy that isn't named, everybody is), for they don't know how it begins."""
_MOST_COUNTED = 10_000
_CHALLENGE = (b"WWW-Authenticate", b'Bearer realm="seeder"')


def check_origin(request: Request) -> None:
    """Problem 403 where the page of another site asks (RFC 6454, 7)."""
    origins, host = request.all_headers(b"origin"), request.header(b"host")
    for origin in origins:
        scheme, separator, name = origin.partition(b"://")
        if scheme not in (b"http", b"https") or not separator or name != host:
            raise Problem(HTTPStatus.FORBIDDEN, "pages of other sites may not ask: mind Origin")


class _Guesses:
    """Counts wrong tokens by network and beginning: a bucket each, which is when it is full again
    (s), those used longest ago first; and all of them in one bucket more.

    That one also bounds how soon what is counted of a beginning can be forgotten for others.
    """

    def __init__(self) -> None:
        self._full_at: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()
        self._all_full_at = -inf

    def may_try(self, key: tuple[bytes, bytes], now: float) -> bool:
        """Tell whether one more of a network and beginning would be taken."""
        return self._after(key, now) - now <= (GUESSES_AT_ONCE + 0.001) / GUESSES_A_SECOND

    def note(self, key: tuple[bytes, bytes], now: float, *, begins_right: bool) -> bool:
        """Count a wrong one; tell whether it is within what there may be in sum."""
        all_after = max(self._all_full_at, now) + 1 / ALL_GUESSES_A_SECOND
        within = all_after - now <= (ALL_GUESSES_AT_ONCE + 0.001) / ALL_GUESSES_A_SECOND
        if within:
            self._all_full_at = all_after
        if within or begins_right:
            self._full_at[key] = self._after(key, now)
            self._full_at.move_to_end(key)
            if len(self._full_at) > _MOST_COUNTED:
                self._full_at.popitem(last=False)
        return within

    def _after(self, key: tuple[bytes, bytes], now: float) -> float:
        return max(self._full_at.get(key, now), now) + 1 / GUESSES_A_SECOND


class TokenDoor:
    """Lets requests in that have the token; None if there is none.

    `client_of` returns whose request it is, a packed address, also behind a trusted proxy; `clock`
    is in seconds.
    """

    def __init__(
        self,
        token: str | None,
        hosts: Collection[str],
        client_of: Callable[[Request], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._token = b"" if token is None else token.encode()
        self._hosts = frozenset(hosts)
        self._clock = clock
        self._client_of = client_of
        self._guesses = _Guesses()

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
        network, now = networks_of(self._client_of(request))[0], self._clock()
        token = bearer_token(given[0])
        key = network, token[:_BEGINNING]
        if not self._guesses.may_try(key, now):
            raise _too_many()
        if len(given) != 1 or not hmac.compare_digest(token, self._token):
            begins_right = hmac.compare_digest(key[1], self._token[:_BEGINNING])
            if counted and not self._guesses.note(key, now, begins_right=begins_right):
                raise _too_many()
            raise _unauthorized("the token is wrong")


def _too_many() -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too many wrong tokens came; try again later, or ask at the UNIX socket (admin.socket)",
        headers=((b"Retry-After", b"10"),),
    )


def _unauthorized(why: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, why, headers=(_CHALLENGE,))
