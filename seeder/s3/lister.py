"""The pages of S3's listings, by whichever version of them a bucket's server has."""

import trio

from seeder.errors import OriginError, OriginFault, OriginUnreachable
from seeder.s3.answers import Answer, label
from seeder.s3.caller import Caller
from seeder.s3.calls import Call
from seeder.s3.listing import LARGEST_PAGE, Page, page_query, parse_page
from seeder.s3.pages import hint_of_page, is_page
from seeder.s3.transport import Exchange
from seeder.torrent.objects import Meter, ObjectRef


class Lister:
    """Lists the buckets of one origin."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._with_v2: set[str] = set()
        """Buckets that were listed by ListObjectsV2."""
        self._without_v2: set[str] = set()
        """Buckets whose server refused ListObjectsV2 and took V1."""

    async def page(
        self, prefix: ObjectRef, token: str | None, meter: Meter, by_marker: bool
    ) -> Page:
        """Return a page of the objects whose keys begin with the key of `prefix`.

        ListObjectsV2, or V1 `by_marker` and where the bucket's server refuses V2 in whatever way.
        OriginError. A thread parses it, since that takes milliseconds.
        """
        bucket = prefix.bucket
        by_marker = by_marker or (token is None and bucket in self._without_v2)
        try:
            body = await self._list(prefix, token, by_marker, meter)
        except OriginError as refused:
            if by_marker or token is not None or bucket in self._with_v2:
                raise
            try:
                body = await self._list(prefix, None, True, meter)
            except OriginError:
                if isinstance(refused, OriginUnreachable):
                    raise
                raise refused from None  # it wasn't the version
            self._without_v2.add(bucket)
        if not by_marker and bucket not in self._without_v2:
            self._with_v2.add(bucket)
        try:
            return await trio.to_thread.run_sync(parse_page, body)
        except OriginFault as error:
            answer = Answer.read(200, {}, body)
            why = f"S3 answers {answer}, as if that were its listing" if answer.code else error
            why = hint_of_page() if is_page({}, body) else why
            raise OriginFault(f"{label(prefix)}: {why}") from error

    async def _list(
        self, prefix: ObjectRef, token: str | None, by_marker: bool, meter: Meter
    ) -> bytes:
        query, is_later = page_query(prefix.key, token, by_marker=by_marker), token is not None
        name = label(prefix)

        async def take(exchange: Exchange) -> bytes:
            if exchange.status != 200:
                raise OriginFault(f"{name}: S3 answers {exchange.status} to a listing")
            body = await exchange.read(LARGEST_PAGE)
            if len(body) > LARGEST_PAGE:
                raise OriginFault(f"{name}: a page of its listing is longer than any")
            return body

        call = Call(
            "GET",
            prefix,
            meter,
            "metainfo",
            take,
            size=LARGEST_PAGE,
            listing=query,
            # Where V2 was never answered, there is V1 yet: some servers answer 500 to what they
            # don't know, and that isn't S3 that is away.
            dispensable=not by_marker and prefix.bucket not in self._with_v2,
            patient=is_later,  # then there are pages that would have to be read again
        )
        return await self._caller.result(call)
