"""Answers for buckets as S3 does: ListBuckets, HeadBucket, GetBucketLocation and both ListObjects.

Listed is what is served and what the client may read, wherever the list of torrents is on.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

from seeder.gateway.access import Keyring, ReadKey, authorise, may_read
from seeder.gateway.cors import for_pages
from seeder.gateway.listing import NAMESPACE, find_keys, list_page, read_query
from seeder.gateway.naming import Naming
from seeder.gateway.objects import PublishedObjects
from seeder.gateway.s3errors import S3Error, xml_text
from seeder.http.messages import Header, Request, Response, decoded_query, query_names
from seeder.torrent.catalog import Catalog, Publication
from seeder.torrent.objects import PinnedBundle

MayRead: TypeAlias = Callable[[Publication | None], bool]
"""Tells whether a publication is there that the client may read; S3Error."""

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
_SIGNS = (b"x-amz-", b"amz-sdk-")


def _is_from_s3_client(request: Request) -> bool:
    """Tell whether a request comes from a client of S3, and not from a browser."""
    if query_names(request.query) & (_LISTINGS | _SUBRESOURCES):
        return True
    return any(
        name.startswith(_SIGNS) or (name == b"authorization" and value.startswith(b"AWS"))
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

    def answer(self, request: Request, bucket: str | None) -> Response:
        """Answer for a bucket, or for all of them (None); S3Error."""
        reader = self._keyring.reader_of(request, self._clock())
        if not self._listed:
            raise S3Error("AccessDenied", "What is published here is not listed.")
        readable = self._readable_by(request, reader)
        answer = (
            self._buckets(readable) if bucket is None else self._bucket(request, bucket, readable)
        )
        # Pages of other sites read what anybody may.
        return for_pages(answer) if reader is None else answer

    def _buckets(self, readable: MayRead) -> Response:
        if self._catalog.loading:
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")
        names = (
            f"<Bucket><Name>{xml_text(bucket)}</Name>"
            "<CreationDate>1970-01-01T00:00:00.000Z</CreationDate></Bucket>"
            for bucket in self._catalog.buckets
            if self._has_any(bucket, readable)
        )
        return _xml(
            f'<ListAllMyBucketsResult xmlns="{NAMESPACE}"><Owner><ID>seeder</ID></Owner>'
            f"<Buckets>{''.join(names)}</Buckets></ListAllMyBucketsResult>\n"
        )

    def _bucket(self, request: Request, bucket: str, readable: MayRead) -> Response:
        names = query_names(request.query)
        if other := names & _SUBRESOURCES:
            what = ", ".join(sorted(name.decode() for name in other))
            raise S3Error("NotImplemented", f"There are listings, but no {what}.")
        if not self._has_any(bucket, readable):
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
        if not self._catalog.may_list(bucket, query.prefix):
            # Programs delete their copies of what a listing leaves out.
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")

        def shown(key: str) -> Publication | None:
            publication = self._catalog.by_name(bucket, key)
            return publication if readable(publication) and _is_served(publication) else None

        page = find_keys(query, self._catalog.keys_of(bucket), shown)
        return Response(200, list_page(bucket, query, page), (*region, _XML, _FRESH))

    def _has_any(self, bucket: str, readable: MayRead) -> bool:
        find = self._catalog.by_name
        return any(readable(find(bucket, key)) for key in self._catalog.keys_of(bucket))

    def _readable_by(self, request: Request, reader: ReadKey | None) -> MayRead:
        owners: set[str] = set()

        def readable(publication: Publication | None) -> bool:
            if publication is None:
                return False
            ref = publication.ref
            if not may_read(reader, ref, public=publication.public):
                return False
            if ref.origin not in owners:
                # S3Error where the client expects another owner of the bucket.
                authorise(request, reader, ref, self._objects.terms(publication))
                owners.add(ref.origin)
            return True

        return readable


def _is_served(publication: Publication | None) -> bool:
    """Tell whether a publication is an object that is to be had, which a bundle isn't."""
    torrent = publication.torrent if publication is not None else None
    return torrent is not None and not isinstance(torrent.pinned, PinnedBundle)


_XML: Header = (b"Content-Type", b"application/xml")
_FRESH: Header = (b"Cache-Control", b"no-cache")


def _xml(document: str, headers: tuple[Header, ...] = ()) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()
    return Response(200, body, (*headers, _XML, _FRESH))
