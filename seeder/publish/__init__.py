"""Every configured object, kept published.

In: the entries of the configuration, what S3 says of the objects and prefixes in them, and faults
that the cache and the library find in torrents. Out: publications in the catalog, and torrents that
come and go, told to an `Audience`.

The door is `publisher.Publisher`. One entry's way: `entries` (which entry a key belongs to),
`prefixes` (what is below a prefix), `keepers` (one `keeper.Keeper` per object), `makers` (what is
asked of S3), `current` (the object's torrent, held while its next state is looked at), `serving` (a
torrent goes live and ends), `departures` (it may come back). `rounds` says when each is looked at
again.
"""
