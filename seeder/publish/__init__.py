"""Every configured object, kept published.

In flow the entries of the configuration, what S3 says of the objects and prefixes in them, and
faults that the cache and the library find in torrents. Out flow publications in the catalog and
torrents that come and go, told to an `Audience`.

The door is `publisher.Publisher`. One entry's way: `entries` (who owns which key), `prefixes`
(what is below a prefix), `keepers` (one `keeper.Keeper` an object), `makers` (what is asked of
S3), `serving` (a torrent goes live and ends). `rounds` says when each is looked at again.
"""
