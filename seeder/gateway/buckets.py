"""Answers for buckets as S3 does: ListBuckets, HeadBucket, GetBucketLocation and both ListObjects.

Listed is what is served and what the client may read, wherever the list of torrents is on.
"""

import re
import time
from collections.abc import Callable, Set
from functools import partial
from typing import TypeAlias

import trio

from seeder.gateway.access import Keyring, ReadKey, authorise, may_read
from seeder.gateway.cors import for_pages
from seeder.gateway.finding import Offered, find_object
from seeder.gateway.listing import (
    KEYS_AT_ONCE,
    NAMESPACE,
    OWNER,
    ListedObject,
    ListPage,
    ListQuery,
    extend_page,
    list_page,
    read_query,
    time_text,
)
from seeder.gateway.naming import Naming
from seeder.gateway.published import PublishedObjects
from seeder.gateway.s3errors import S3Error, xml_text
from seeder.http.messages import Header, Request, Response, decoded_query, query_names
from seeder.torrent.catalog import Catalog

MayRead: TypeAlias = Callable[[Offered | None], bool]
"""Tells whether an object is there that the client may read; S3Error."""

_REGION = "us-east-1"
"""Clients sign for it where nobody tells them another one; we take any."""
_SUBRESOURCES = frozenset(
    b"accelerate acl analytics cors delete encryption inventory intelligent-tiering lifecycle"
    b" logging metadataTable metrics notification object-lock ownershipControls policy policyStatus"
    b" publicAccessBlock replication requestPayment session tagging uploads versioning versions"
    b" website".split()
)
"""Of a bucket in S3; a request that names one must not get a listing instead."""
_LISTINGS = frozenset(
    b"continuation-token delimiter encoding-type fetch-owner list-type location marker max-keys"
    b" prefix start-after x-id".split()
)
_OF_ALL = frozenset(b"continuation-token prefix x-id".split())
"""Of those, what a request for the list of buckets may name, too."""
_SIGNS = (b"x-amz-", b"amz-sdk-")
_PROGRAMS = re.compile(rb"aws-(sdk|cli)|botocore|hadoop|minio|rclone|s3cmd|s5cmd", re.IGNORECASE)
"""In User-Agent: some sign nothing and send none of Amazon's headers with an anonymous request."""
_CLOSED_FOR = 2.0
"""Seconds; to look at 100,000 objects takes a tenth of one."""


_NO_BUCKET = (
    "This is for one bucket, and the address names none. If the host does, that takes its domain in"
    " domains of [gateway] here; or have the client name the bucket in the path (addressing_style ="
    " path)."
)


def _is_for_one(names: Set[bytes]) -> bool:
    """Tell whether a query with these names is for a bucket, not for the list of them."""
    return bool(names & (_LISTINGS | _SUBRESOURCES) - _OF_ALL)


def _is_from_s3_client(request: Request) -> bool:
    """Tell whether a request comes from a client of S3, and not from a browser."""
    if query_names(request.query) & (_LISTINGS | _SUBRESOURCES):
        return True
    return any(
        name.startswith(_SIGNS)
        or (name == b"authorization" and value.startswith(b"AWS"))
        or (name == b"user-agent" and _PROGRAMS.search(value) is not None)
        for name, value in request.headers
    )


class BucketRoutes:
    """Answers requests for buckets; `clock` is Unix time in seconds."""

    def __init__(
        self,
        catalog: Catalog,
        objects: PublishedObjects,
        keyring: Keyring,
        *,
        listed: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._keyring = keyring
        self._listed = listed
        self._clock = clock
        self._started = clock()
        self._closed_until: dict[str, float] = {}
        """By bucket of many objects of which strangers may read none, until when we know that."""

    def means_bucket(self, request: Request, naming: Naming) -> bool:
        """Tell whether a GET or HEAD is for a bucket, or for the list of them."""
        if request.path == b"/":
            return _is_from_s3_client(request)
        try:
            bucket = naming.bucket_alone(request)
        except S3Error:
            return False
        if bucket is None:
            return False
        return _is_from_s3_client(request) or (self._listed and self._catalog.has_bucket(bucket))

    async def answer(self, request: Request, bucket: str | None) -> Response:
        """Answer for a bucket, or for all of them (None); S3Error."""
        reader = self._keyring.reader_of(request, self._clock())
        if not self._listed:
            raise S3Error("AccessDenied", "What is published here is not listed.")
        readable = self._readable_by(request, reader)
        if bucket is None:
            if request.method == b"HEAD" or _is_for_one(query_names(request.query)):
                # Programs would take the list of buckets for an empty bucket.
                raise S3Error("InvalidRequest", _NO_BUCKET)
            answer = await self._buckets(readable, reader)
        else:
            answer = await self._bucket(request, bucket, readable, reader)
        # Pages of other sites read what anybody may.
        return for_pages(answer) if reader is None else answer

    async def _buckets(self, readable: MayRead, reader: ReadKey | None) -> Response:
        if self._catalog.loading:
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")
        names = [
            f"<Bucket><Name>{xml_text(bucket)}</Name>"
            f"<CreationDate>{time_text(self._since(bucket))}</CreationDate></Bucket>"
            for bucket in self._catalog.buckets
            if await self._has_any(bucket, readable, reader)
        ]
        return _xml(
            f'<ListAllMyBucketsResult xmlns="{NAMESPACE}">{OWNER}'
            f"<Buckets>{''.join(names)}</Buckets></ListAllMyBucketsResult>\n"
        )

    async def _bucket(
        self, request: Request, bucket: str, readable: MayRead, reader: ReadKey | None
    ) -> Response:
        names = query_names(request.query)
        if other := names & _SUBRESOURCES:
            what = ", ".join(sorted(name.decode() for name in other))
            raise S3Error("NotImplemented", f"There are listings, but no {what}.")
        if not await self._has_any(bucket, readable, reader):
            if self._catalog.may_come(bucket, ""):
                why = "What is published is being looked up; try again."
                raise S3Error("ServiceUnavailable", why)
            if self._catalog.has_bucket(bucket):
                raise S3Error("AccessDenied", "Access Denied")
            raise S3Error("NoSuchBucket", "Nothing of the specified bucket is published here.")
        region: tuple[Header, ...] = ((b"x-amz-bucket-region", _REGION.encode()),)
        if b"location" in names:
            return _xml(f'<LocationConstraint xmlns="{NAMESPACE}"/>\n', region)
        if request.method == b"HEAD":
            return Response(200, b"", (*region, _XML))
        query = read_query(decoded_query(request.query))
        page = await self._page(bucket, query, readable)
        return Response(200, list_page(bucket, query, page), (*region, _XML, _FRESH))

    async def _page(self, bucket: str, query: ListQuery, readable: MayRead) -> ListPage:
        catalog = self._catalog

        def shown(key: str) -> ListedObject | None:
            found = find_object(catalog, bucket, key)
            pinned = found.pinned if found is not None else None
            if found is None or pinned is None or not readable(found):
                return None
            told = pinned.description
            modified = told.modified if told is not None else None
            # Tools stumble where there is no time.
            return ListedObject(pinned, found.published or 0 if modified is None else modified)

        # Objects of a bundle that comes meanwhile are on the next page or in the next listing.
        page = ListPage()
        while not page.whole:
            if page.looks:
                await trio.lowlevel.checkpoint()
            if not catalog.may_list(bucket, query.prefix):
                # Programs delete their copies of what a listing leaves out.
                why = "What is published is being looked up; try again."
                raise S3Error("ServiceUnavailable", why)
            extend_page(page, query, partial(catalog.keys_of, bucket), shown)
        return page

    def _since(self, bucket: str) -> int:
        """Return a date for a bucket: when anything of it was published first."""
        since = self._catalog.since(bucket)
        return int(self._started if since is None else since)

    async def _has_any(self, bucket: str, readable: MayRead, reader: ReadKey | None) -> bool:
        """Tell whether a client may read anything of a bucket."""
        now = self._clock()
        if reader is None and now < self._closed_until.get(bucket, 0):
            return False
        looks, order = 0, self._catalog.keys_of(bucket)
        while (key := order.key) is not None:
            if readable(find_object(self._catalog, bucket, key)):
                return True
            looks += 1
            if looks % KEYS_AT_ONCE:
                order.step()
            else:
                await trio.lowlevel.checkpoint()
                order = self._catalog.keys_of(bucket, key + "\0")
        if reader is None and looks >= KEYS_AT_ONCE:
            self._closed_until[bucket] = now + _CLOSED_FOR
        return False

    def _readable_by(self, request: Request, reader: ReadKey | None) -> MayRead:
        owners: set[str] = set()

        def readable(found: Offered | None) -> bool:
            if found is None:
                return False
            ref, publication = found.ref, found.publication
            if not may_read(reader, ref, public=publication.public):
                return False
            if ref.origin not in owners:
                # S3Error where the client expects another owner of the bucket.
                authorise(request, reader, ref, self._objects.terms(publication))
                owners.add(ref.origin)
            return True

        return readable


_XML: Header = (b"Content-Type", b"application/xml")
_FRESH: Header = (b"Cache-Control", b"no-cache")


def _xml(document: str, headers: tuple[Header, ...] = ()) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()
    return Response(200, body, (*headers, _XML, _FRESH))
