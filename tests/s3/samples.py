"""One object, the range of it that tests ask for, and keys that are hard to get right."""

import random

from seeder.s3.client import S3Origin
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange
from tests.s3.fault_server import head, stored
from tests.s3.support import CountingMeter

BODY = random.Random(3).randbytes(300_000)
REF = ObjectRef("default", "quotes", "Nelson")
PINNED = PinnedObject(REF, '"tag"', len(BODY))
WANTED = ByteRange(1000, 50_000)
PIECE = BODY[1000:51_000]
GOOD = stored(BODY)
RANGE_HEAD = head(
    206,
    [
        ("content-range", f"bytes 1000-50999/{len(BODY)}"),
        ("content-length", "50000"),
        ("etag", '"tag"'),
    ],
)
RANGE_HEADERS = {"etag": '"tag"', "content_range": f"bytes 1000-50999/{len(BODY)}"}
NASTY = [
    "Nelson",
    "a b+c%20",
    "100%",
    "%2F..%2f",
    "a//b///c/",
    "/leading",
    "//two",
    "a/../../b/./c",
    "..",
    "what?x=1&y#z",
    "tab\tnewline\nnul\x00del\x7f",
    "ünïcödé/文字/😀",
    "*'()!~$&,;:=@-_.",
    '<xml>&amp;"\\',
    "\u202etxt.exe",
    "e\u0301",
]


async def read(origin: S3Origin, meter: CountingMeter) -> bytearray:
    return await origin.read_range(PINNED, WANTED, meter, "pieces")
