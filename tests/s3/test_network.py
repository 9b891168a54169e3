"""What a stream tells of bytes that nobody read."""

import socket

import pytest
import trio

from seeder.s3.network import Stream

_HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("came", "body"),
    [
        (_HEAD, 0),
        (_HEAD[:30], 0),
        (_HEAD + b"hello", 5),
        (_HEAD + b"a\r\n\r\nbody", 9),
        (b"no head at all", 14),
    ],
)
async def test_a_head_that_nobody_read_is_no_part_of_the_body(came: bytes, body: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        stream = Stream(ours)
        theirs.sendall(came)
        with trio.fail_after(30):
            await trio.lowlevel.wait_readable(ours)
        assert stream.unread == len(came)
        assert stream.unread_body == body
        stream.close()
        assert stream.unread_body == 0
