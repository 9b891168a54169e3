"""Pieces that were read from S3, verified and kept in memory and on disk, within budgets of bytes.

In: requests for pieces of a torrent, and pieces that were read for another reason (hashing). Out:
the piece, or the error, to each waiter once; and each object's fault to `on_fault`.

Door: `pieces.PieceCache`. It asks `memory`, then `disk`, then `reading`, which asks S3 by the
Protocol PieceSource, since S3's client stands above the cache. `fetches` has what is on its way,
and who waits for it. The disk tier reads in `disk` and writes in the background in `writing`;
`index` knows its files, `files` has the system calls, and `health` remembers whether the disk
works.
"""
