"""What a torrent is: its formats, its pieces, and the objects of S3 that they are made of.

In: the bytes of a torrent file or an info dictionary, and pinned states of objects. Out: checked,
frozen values (`Info`, `Layout`, `Section`), and the bytes of new torrent files.

Door: `torrent.Torrent` is a torrent that is served, `publications.Publication` what has become of a
configured object, `catalog.Catalog` all of them by object and by hash (`buckets` and `names`: by
key). Below them `info` reads and writes info dictionaries of one file and `bundle` those of many,
`objects` says which object a piece belongs to, `layout` which bytes of it, `merkle` what BEP 52
adds, `bencode` how it is spelled. All of it is sans-IO.
"""
