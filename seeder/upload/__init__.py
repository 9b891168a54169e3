"""Who gets how much, and when: peers and HTTP downloads alike.

In: guests that want pieces of torrents, the [peer] section's limits, the level of the budget. Out:
the pieces they may have now (from the cache, which asks S3), bytes granted, slots given and taken.

Door: `uploads.Uploads`, of which a node has one, and `slots.Guest`, what it knows of an upload. It
has the `slots` (decided by `choker`, and by what `standing` remembers of an address), the `rates`,
and `superseed`'s plans; each guest gets a `feed` of its pieces. `thrift` says which of a peer's
requests wait for others to answer them. All but `uploads` and `feed` are sans-IO.
"""
