"""From an object in S3 to an info dictionary that is true of it, and what is kept of that on disk.

In: the state of an object (HeadObject) or of a bundle (a listing), and its section of the
configuration. Out: a Torrent, and a Record of it for the next start.

Door: `ladder.Ladder`, which tries the configured sources of metainfo one after the other:
`questions` asks S3, `verify` checks what comes from outside, `checksums` makes metainfo of what S3
tells of the parts, `building` is the last rung: `hashing` reads the object, noting in `journal` and
`trees` how far it is. `bundles` lists what is below a prefix. `store` keeps the `records`;
`library` has the info dictionaries of what is served.
"""
