"""S3, as far as the seeder asks it: HEAD, pinned ranged GETs, listings, attributes, torrents.

In go the settings of an origin, object references and ranges; out come pinned objects, bytes that
land in the reader's own buffers, and OriginErrors whose text is one line for the operator. Every
request is booked on the caller's meter, and admitted by an allowance.

The door is client.S3Origin, one origin; origins.Origins has all of them by name and gives the cache
its pieces. Below: calls (attempts, retries, statistics) -> signing, answers (what S3's errors mean)
and transport (httpx, in this module only) -> http1 -> network.
"""
