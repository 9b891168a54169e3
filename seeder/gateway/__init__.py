"""The public listeners: the tracker by HTTP and UDP, S3's API for torrents, index and web seed.

In: an HTTP request, the catalog of what is published, and the tracker's swarms. Out: an announce's
reply; an object's torrent file, magnet link or bytes, or an error as S3 words it; a page of the
public torrents.

The door is `routes`: its table, and `public_routes`, which puts the parts together. `clients` says
which client asks and how often, `hidden` warns of addresses that stand for many; `announces`
answers the tracker's pages, `datagrams` its UDP. `objects` answers for objects: `published` has
what is served of each, `naming` reads bucket and key, `access` (with `sigv4`, and the secrets from
`keys`) decides who may have them, `links` makes torrent files and magnet links, `webseed` and
`downloads` (each a `download`) send the bytes, `s3errors` words refusals, `cors` says what pages of
other sites may read. `buckets` answers for buckets, with pages from `listing`. `certificates` has
what TLS on the listeners takes. The index is in `index`, `index_routes` and `index_pages`.
"""
