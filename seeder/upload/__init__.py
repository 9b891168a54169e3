"""Who gets how much, and when: peers and HTTP downloads alike.

In: guests that want pieces of torrents, the [peer] section's limits, the level of the budget. Out:
the pieces they may have now (from the cache, which asks S3), bytes granted, slots given and taken.

Door: `uploads.Uploads`, one for the node, which knows each upload as a `slots.Guest`. It has the
`slots` (decided by `choker`, and by what `standing` remembers of an address), the `rates`, and the
`plans` of `superseed`; `connections` says who finds a place, and who makes room. Each guest gets
its pieces from a `feed`, and its part of the rates by an `allotment`. `thrift` says which requests
of a peer wait until other peers have had time to answer them. All but `uploads`, `allotment`,
`connections` and `feed` are sans-IO.
"""
