"""What a build leaves on disk: the journal of the hashes, and the Merkle tree of a hybrid."""

import random
from collections.abc import Iterator
from zlib import crc32

from seeder.errors import MetainfoError
from seeder.metainfo.journal import HashJournal
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.torrent.merkle import HashRequest, hashes_for
from tests.fuzz.inputs import damaged, scratch, target
from tests.torrent.trees import WholeTree, proves

_DIRECTORY = scratch()
_RAW = 128
"""The flag of an input that is a file as it stands: all else has its header and checksums right."""


def _journal(flags: int) -> HashJournal:
    """Return the journal of an object or a bundle (its numbers are longer), hybrid or not."""
    width, length = (20 if flags & 1 else 4), (52 if flags & 2 else 20)
    return HashJournal(_DIRECTORY / "journal", "name", width, length)


def _noted(flags: int, hashes: dict[int, bytes]) -> bytes:
    _journal(flags).start(hashes)
    return (_DIRECTORY / "journal").read_bytes()


_OLD_JOURNAL = b'{"journal": 1, "of": "name"}\n'
_JOURNAL = _noted(0, {})
_NOTES = bytes(4) + bytes(range(1, 21)) + b"\0\0\0\5" + bytes(20)


@target(
    b"\x80" + _noted(0, {0: bytes(20), 5: bytes(range(20))}),
    b"\x80" + _noted(0, {1: bytes(20)})[:-3],
    b"\x83" + _noted(3, {2**150: bytes(range(52))}),
    b"\x80" + _OLD_JOURNAL + _NOTES,
    b"\0" + _NOTES,
    b"\0" + _NOTES * 2 + b"torn",
    b"\1" + bytes(19) + b"\7" + bytes(range(20)) + _NOTES,
    b"\2" + bytes(range(56)) * 2,
    b"\4" + _NOTES * 2,
    b"\x08" + _NOTES + b"torn",
)
def hash_journal(data: bytes) -> None:
    """A journal says what was noted, without what is torn or damaged, and goes on from there."""
    flags, content = data[0] if data else 0, data[1:]
    journal = _journal(flags)
    width, length = (20 if flags & 1 else 4), (52 if flags & 2 else 20)
    expected = None
    if not flags & _RAW:
        content, expected = _journal_of(content, width, length, flags)
    (_DIRECTORY / "journal").write_bytes(content)
    known = journal.load()
    assert expected is None or known == expected
    assert all(len(each) == length and 0 <= n < 256**width for n, each in known.items())
    journal.start(known)
    assert journal.load() == known
    first = len(data) % 7
    more = [bytes([count]) * length for count in range(1, 4)]
    journal.append(first, more)
    assert journal.load() == known | dict(enumerate(more, first))


def _journal_of(
    content: bytes, width: int, length: int, flags: int
) -> tuple[bytes, dict[int, bytes]]:
    """Return records as a journal, as an older one or with one damaged, and what it should say."""
    size = width + length
    records = [content[at : at + size] for at in range(0, len(content) - size + 1, size)]
    torn = content[len(records) * size :]
    if flags & 8:
        # Zeros are what a power cut left; the records of an older journal have no checksum.
        written = records
        records = [each for each in records if any(each[width:])]
        return _OLD_JOURNAL + b"".join(written) + torn, _said(records, width)
    written = [each + crc32(each, crc32(_JOURNAL)).to_bytes(4, "big") for each in records]
    if written and flags & 4:
        damaged = len(torn) % len(written)
        at = content[0] % (size + 4)
        record = written[damaged]
        written[damaged] = record[:at] + bytes([record[at] ^ 1 << at % 8]) + record[at + 1 :]
        records = [each for index, each in enumerate(records) if index != damaged]
    return _JOURNAL + b"".join(written) + torn, _said(records, width)


def _said(records: list[bytes], width: int) -> dict[int, bytes]:
    return {int.from_bytes(each[:width], "big"): each[width:] for each in records}


_BODIES = tuple(
    (random.Random(size).randbytes(size), length)
    for size, length in ((1, 16384), (3 * 16384 + 5, 16384), (300_000, 65536), (200_000, 32768))
)
_TREES = tuple(
    WholeTree(body, length, has_leaves=has_leaves)
    for body, length in _BODIES
    for has_leaves in (True, False)
)


def _builder(number: int) -> TreeBuilder:
    return TreeBuilder(_DIRECTORY / "tree", _TREES[number].shape)


def _tree_file(number: int) -> bytes:
    """Write the tree as the seeder does."""
    tree, (body, length) = _TREES[number], _BODIES[number // 2]
    if tree.has_leaves:
        builder = _builder(number)
        builder.start()
        builder.add(0, [body[at : at + length] for at in range(0, len(body), length)])
        builder.finish()
    else:
        TreeFile.write(_DIRECTORY / "tree", tree.shape, _piece_layer(tree))
    return (_DIRECTORY / "tree").read_bytes()


def _piece_layer(tree: WholeTree) -> bytes:
    return b"".join(_piece_roots(tree))


def _piece_roots(tree: WholeTree) -> list[bytes]:
    return tree.layers[min(tree.shape.piece_layer, tree.shape.height)][
        : tree.shape.layout.piece_count
    ]


_TREE_FILES = tuple(map(_tree_file, range(len(_TREES))))


@target(
    *(bytes([number]) for number in range(len(_TREES))),
    *(
        bytes([number]) + place + b"\1"
        for number in (0, 2, 3, 4)
        for place in (b"\0\x50", b"\0\xa0")
    ),
    b"\2\0\x1f\1",
    b"\4\xff\xff\0\x60",
    b"\6\xff\xff\0\0",
    b"\x82" + _TREE_FILES[2],
    b"\x83" + _TREE_FILES[3][:-1],
)
def tree_file(data: bytes) -> None:
    """A Merkle tree on disk that is damaged or another's: nothing wrong leaves it."""
    flags, content = data[0] if data else 0, data[1:]
    number = (flags & ~_RAW) % len(_TREES)
    tree, right = _TREES[number], _TREE_FILES[number]
    content = content if flags & _RAW else damaged(right, content)
    path = _DIRECTORY / "tree"
    path.write_bytes(content)
    found = TreeFile.open(path, tree.shape, tree.root)
    if content == right:
        assert found is not None
    if found is not None:
        assert found.has_leaves or not tree.has_leaves or content != right
        whole = _right_layers(found, tree)
        proven = [_proven(found, tree, request) for request in _hash_requests(found, tree)]
        assert content != right or (whole and all(proven))
    if tree.has_leaves:
        _build_on(number)
        assert path.read_bytes() == right


def _right_layers(found: TreeFile, tree: WholeTree) -> bool:
    """Tell whether the piece layer is given, which then is right."""
    try:
        assert found.piece_layers() == tree.piece_layers()
        assert found.piece_layers() == tree.piece_layers()
    except MetainfoError:
        return False
    return True


def _hash_requests(found: TreeFile, tree: WholeTree) -> Iterator[HashRequest]:
    shape = tree.shape
    for base in ((0,) if found.has_leaves else ()) + (shape.piece_layer,):
        if base < shape.height:
            length = min(2, shape.count(base))
            for index in range(0, shape.count(base) - length + 1, length):
                yield HashRequest(tree.root, base, index, length, shape.height - base - 1)


def _proven(found: TreeFile, tree: WholeTree, request: HashRequest) -> bool:
    """Tell whether a request is answered, which then proves what was asked for."""
    if tree.shape.fault(request, tree.root, has_leaves=found.has_leaves) is not None:
        return True
    try:
        answer = hashes_for(request, tree.shape, found.read)
    except MetainfoError:
        return False
    assert proves(request, answer, tree)
    return True


def _build_on(number: int) -> None:
    """Finish the tree from what is right of its leaves in a build that was broken off."""
    tree, (body, length) = _TREES[number], _BODIES[number // 2]
    builder = _builder(number)
    intact = builder.intact(enumerate(_piece_roots(tree)))
    for index in range(tree.shape.layout.piece_count):
        if index not in intact:
            builder.add(index, [body[index * length :][:length]])
    builder.finish()
