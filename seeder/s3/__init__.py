"""S3, as far as the seeder asks it: HEAD, pinned ranged GETs, listings, attributes, torrents.

In: the settings of an origin, object references, ranges. Out: pinned objects, bytes that land in
the reader's own buffers, and OriginErrors whose text is one line for the operator. Every request is
booked on the caller's meter, and admitted by an allowance.

Door: `client.S3Origin` is one origin; `origins.Origins` has all of them by name, and gives the
cache its pieces. A call is a value of `calls`; it goes down through `caller` (whether to try again,
statistics), `attempts` (one exchange, within the budget), `transport` (httpx, in this module only),
`http1` and `network`. Beside them, `retry` says when to ask, and `signer` how, by `credentials` and
`signing`; `pace` which read is too slow, `reach` whether there is any answer, and `gate` who may
ask while there is none (`presence` has the three together). What takes several calls stands beside
`client`: `ranges`, `witnesses` on how an object is, `lister`, `small_objects`. `answers`, `heads`,
`listing`, `attributes` and `xml` read what comes back, and `support` remembers which calls an
origin lacks.
"""
