"""What is served of an object at /BUCKET/KEY: its torrent file, its magnet link, its bytes.

`?torrent` answers as S3's GetObjectTorrent did; `?magnet` is beside it. `seeder.gateway.access`
decides who may have them.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from secrets import token_hex

import trio

from seeder.gateway.access import Keyring, ReadKey, authorise, is_charged, may_read
from seeder.gateway.cors import for_pages
from seeder.gateway.documents import Documents
from seeder.gateway.downloads import Downloads
from seeder.gateway.finding import Offered
from seeder.gateway.keyed import UNSEEN, Visitor, keyed_path, refuse_keyed, split_keyed
from seeder.gateway.naming import Naming
from seeder.gateway.overrides import overridden
from seeder.gateway.published import PublishedObjects
from seeder.gateway.s3errors import S3Error, error_response
from seeder.gateway.selecting import version_asked
from seeder.gateway.webseed import answer_content
from seeder.http.headers import content_disposition, tags_match
from seeder.http.messages import Header, Request, Response, query_names
from seeder.torrent.info import InfoHash
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.holders import Refused
from seeder.tracker.passkeys import Passkey

_NO_TORRENT = InfoHash(bytes(20))
"""What a key is read for where there is none: that takes as long, and fails."""
_SUBRESOURCES = frozenset(
    b"acl attributes cors legal-hold policy retention tagging uploadId uploads versions".split()
)
"""Of an object in S3; a request that names one must not get the object instead."""


def make_request_id() -> str:
    """Return 16 hexadecimal digits, as in S3's x-amz-request-id."""
    return token_hex(8).upper()


class ObjectRoutes:
    """Answers requests for objects; `downloads` is None where there is no web seed.

    `url_of` is where another node of the cluster has a torrent that this one hasn't, before
    /BUCKET/KEY. `clock` is Unix time in seconds.
    """

    def __init__(
        self,
        objects: PublishedObjects,
        naming: Naming,
        keyring: Keyring,
        documents: Documents,
        downloads: Downloads | None,
        *,
        url_of: Callable[[Torrent], str | None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        request_id: Callable[[], str] = make_request_id,
    ) -> None:
        self._url_of = url_of
        self._objects = objects
        self._naming = naming
        self._keyring = keyring
        self._documents = documents
        self._downloads = downloads
        self._clock = clock
        self._request_id = request_id

    async def torrent(self, request: Request, client: bytes) -> Response:
        """Answer `?torrent` with the object's torrent file, or 304 where the client has it.

        `client` is the client's packed address.
        """
        try:
            publication, headers, reader = self._authorised(request)
            holder = None if reader is None else reader.access_key_id
            served = publication.torrent
            found = await self._objects.torrent_file(publication, holder)
            visitor = self._visitor(Offered(publication), served, reader)
        except S3Error as error:
            return self.refuse(request, error)
        headers += ((b"ETag", found.etag.encode()),)
        if tags_match(request.all_headers(b"if-none-match"), found.etag.encode(), weakly=True):
            return _for_all(publication, Response(304, b"", headers))
        headers += (
            (b"Content-Disposition", content_disposition(found.filename)),
            (b"Content-Type", b"application/x-bittorrent"),
        )
        try:
            whole = Response(200, found.body, headers)
            answer = self._documents.limited(
                request, whole, client, publication.torrent, visitor=visitor
            )
        except S3Error as error:
            return self.refuse(request, error)
        return _for_all(publication, answer)

    async def magnet(self, request: Request) -> Response:
        """Answer `?magnet` with the link as a line of text."""
        try:
            publication, headers, _ = self._authorised(request)
            link = await self._objects.magnet_link(publication)
        except S3Error as error:
            return self.refuse(request, error)
        headers += ((b"Content-Type", b"text/plain; charset=utf-8"),)
        return _for_all(publication, Response(200, f"{link}\n".encode(), headers))

    def split_keyed(self, request: Request) -> tuple[bytes, Request] | None:
        """Return the passkey in a request's path, and the request without it; None without one."""
        return split_keyed(request) if self._downloads is not None else None

    def means_content(self, request: Request) -> bool:
        """Tell whether a request without ?torrent or ?magnet is for an object, not the tracker."""
        if self._downloads is None:
            return False
        try:
            bucket, key = self._naming.object_of(request)
        except S3Error:
            return False
        if request.path.split(b"/")[1] not in (b"announce", b"scrape"):
            return True
        return b"info_hash=" not in request.query and self._objects.has_content(bucket, key)

    async def content(self, request: Request, address: str) -> Response:
        """Answer with the object itself, for the client at an IP address."""
        assert self._downloads is not None
        public = True
        try:
            bucket, key, reader = self._asked(request)
            found = self._objects.find_content(bucket, key)
            headers = self._allowed(request, found, reader)
            public = found.publication.public
            version = version_asked(request) if request.query else None
            if version is not None:
                found = self._objects.find_version(found, version)
                headers = self._allowed(request, found, reader)
                public = found.publication.public
            if other := query_names(request.query) & _SUBRESOURCES:
                what = ", ".join(sorted(name.decode() for name in other))
                why = f"There is the object, ?torrent and ?magnet, but no {what}."
                raise S3Error("NotImplemented", why)
            content = await self._objects.content(found)
            if reader is not None and request.query:
                told = overridden(request, content.description)
                content = replace(content, description=told)
            # A signature is for this host alone.
            url = self._url_of(content.torrent) if reader is None else None
            elsewhere = None if url is None else url.encode() + self._naming.target_of(request)
            answer = await answer_content(
                request,
                content,
                address,
                self._downloads,
                self._visitor(found, content.torrent, reader),
                elsewhere=elsewhere,
            )
        except S3Error as error:
            return self.refuse(request, error, public=public)
        meter = self._documents.meter(content.torrent)
        answer = answer._replace(headers=headers + answer.headers, meter=meter)
        return _for_all(found.publication, answer)

    def _visitor(self, found: Offered, torrent: Torrent | None, reader: ReadKey | None) -> Visitor:
        """Return who has an object, as `torrent` serves it, by the key that he signed with.

        Who signs for a private object has a name. Revoked with his passkeys, he gets no private
        object in another way either: S3Error.
        """
        named = reader is not None and found.publication.for_members
        name = reader.access_key_id if reader is not None and named else None
        if name is not None and not self._objects.issuer.is_welcome(name):
            raise S3Error("AccessDenied", "Access Denied")

        def is_welcome() -> bool:
            if torrent is None or not self._objects.is_offered(found, torrent):
                return False
            if found.publication.public:
                return True
            if name is not None and not self._objects.issuer.is_welcome(name):
                return False
            now = None if reader is None else self._keyring.renewed(reader)
            return may_read(now, found.ref, public=False)

        return Visitor(name, is_welcome)

    async def keyed_content(self, request: Request, key: bytes, client: bytes) -> Response:
        """Answer with the object at the path of the holder of a passkey.

        `request` is without the key, `client` the client's packed address.
        """
        assert self._downloads is not None
        found, torrent = self._for_members(request)
        holders = self._objects.issuer.holders
        passkey = holders.judge(key, _NO_TORRENT if torrent is None else torrent.info_hash)
        if found is None or isinstance(passkey, Refused):
            why = passkey if isinstance(passkey, Refused) else Refused.WRONG
            holders.note(why, client, trio.current_time())
            return refuse_keyed(why)
        visitor = self._holder(found, torrent, passkey)
        try:
            content = await self._objects.content(found)
            address = str(ip_address(client))
            url = self._url_of(content.torrent)
            before = None if url is None else (url + keyed_path(key.decode())).encode()
            answer = await answer_content(
                request,
                content,
                address,
                self._downloads,
                visitor,
                elsewhere=None if before is None else before + self._naming.target_of(request),
            )
        except S3Error as error:
            return self.refuse(request, error, public=False)
        meter = self._documents.meter(content.torrent)
        headers = (*answer.headers, *UNSEEN, (b"Cache-Control", b"private, no-cache"))
        return answer._replace(headers=headers, meter=meter)

    def _holder(self, found: Offered, torrent: Torrent | None, passkey: Passkey) -> Visitor:
        """Return who has an object, as `torrent` serves it, by his passkey."""

        def is_welcome() -> bool:
            if torrent is None or not self._objects.is_offered(found, torrent):
                return False
            return found.publication.public or self._objects.issuer.holders.is_good(passkey)

        return Visitor(passkey.holder, is_welcome)

    def _for_members(self, request: Request) -> tuple[Offered | None, Torrent | None]:
        """Return the object that a request names, and its torrent, if that is for members."""
        try:
            found = self._objects.find_content(*self._naming.object_of(request))
        except S3Error:
            return None, None
        publication = found.publication
        return (found, publication.torrent) if publication.for_members else (None, None)

    def refuse(self, request: Request, error: S3Error, *, public: bool = True) -> Response:
        """Answer with an error as S3 words it; if it isn't of a `public` object, for no page."""
        if error.code == "NoSuchBucket":
            hint = self._naming.misplaced_bucket(request, self._objects.has_bucket)
            error = error if hint is None else S3Error(error.code, hint)
        answer = error_response(error, resource=request.path, request_id=self._request_id())
        return for_pages(answer) if public and not error.is_about_access else answer

    def _authorised(
        self, request: Request
    ) -> tuple[Publication, tuple[Header, ...], ReadKey | None]:
        """Return the publication that a request names and may have, the headers about that, and
        who signed it."""
        bucket, key, reader = self._asked(request, whole=True)
        publication = self._objects.find(bucket, key)
        return publication, self._allowed(request, Offered(publication), reader), reader

    def _asked(self, request: Request, *, whole: bool = False) -> tuple[str, str, ReadKey | None]:
        """Return bucket, key and signer of a request, of the bucket alone if it may be the `whole`;
        S3Error.

        Before the catalog is asked: a client that signs wrongly mustn't learn what is published.
        """
        bucket, key = self._naming.object_of(request, whole=whole)
        return bucket, key, self._keyring.reader_of(request, self._clock())

    def _allowed(
        self, request: Request, found: Offered, reader: ReadKey | None
    ) -> tuple[Header, ...]:
        """Check that a request may have an object, and return the headers about that."""
        terms = self._objects.terms(found.publication)
        authorise(request, reader, found.ref, terms)
        headers: tuple[Header, ...] = ((b"x-amz-request-id", self._request_id().encode()),)
        if is_charged(request, terms):
            headers += ((b"x-amz-request-charged", b"requester"),)
        # The address is stable, what it leads to is not: the object may be replaced.
        headers += ((b"Cache-Control", b"no-cache" if terms.public else b"private, no-cache"),)
        return headers


def _for_all(publication: Publication, response: Response) -> Response:
    """Return a response that pages of other sites may read if the object is public."""
    return for_pages(response) if publication.public else response
