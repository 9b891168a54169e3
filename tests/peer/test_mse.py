"""Message stream encryption: handshakes with a dialler of our own, with libtorrent, and hostile."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import libtorrent as lt
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.errors import WireError
from seeder.peer import messages
from seeder.peer.messages import MessageId, Requests
from seeder.peer.mse import (
    GENERATOR,
    LONGEST_INITIAL,
    LONGEST_PAD,
    PRIME,
    Established,
    Keystream,
    Method,
    MsePolicy,
    Responder,
    SkeyIndex,
    looks_plain,
    rc4_available,
)
from seeder.torrent.info import InfoHash, build_info, torrent_file
from seeder.torrent.layout import Layout
from seeder.units import KIB
from tests.peer.mse_client import PLAIN, RC4, Dialler, PlainRc4, keystream
from tests.peer.wire import HANDSHAKE_LENGTH, INFO_HASH, greeting, piece_header
from tests.support.libtorrent_client import Libtorrent

OTHER_HASH = bytes(reversed(INFO_HASH))
PRIVATE_KEY = bytes(range(100, 120))
HELLO = greeting()
LATER = b"what follows the handshake"
PADS = st.binary(max_size=LONGEST_PAD)
POLICIES: st.SearchStrategy[MsePolicy] = st.sampled_from(("allow", "require"))


def index(*info_hashes: bytes) -> SkeyIndex:
    found = SkeyIndex()
    for info_hash in info_hashes:
        found.add(info_hash)
    return found


def responder(policy: MsePolicy = "allow", pad_b: bytes = b"") -> Responder:
    find = index(INFO_HASH, OTHER_HASH).find
    return Responder(find, policy, private_key=PRIVATE_KEY, pad_b=pad_b)


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def by_byte(data: bytes) -> Iterator[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


@dataclass
class Pieces:
    """Cuts bytes into pieces of the sizes given, again and again."""

    sizes: list[int]

    def __call__(self, data: bytes) -> Iterator[bytes]:
        turn = 0
        while data:
            size = self.sizes[turn % len(self.sizes)]
            yield data[:size]
            data = data[size:]
            turn += 1


Chunking = Callable[[bytes], Iterator[bytes]]
CHUNKINGS = st.lists(st.integers(1, 700), min_size=1, max_size=8).map(Pieces)


def feed(ours: Responder, data: bytes, chunking: Chunking = whole) -> Established | None:
    """Hand bytes over; what follows the outcome joins its payload."""
    outcome: Established | None = None
    for chunk in chunking(data):
        if outcome is not None:
            outcome = replace(outcome, payload=outcome.payload + decrypted(outcome, chunk))
        else:
            outcome = ours.receive(chunk)
    return outcome


def shake(theirs: Dialler, ours: Responder, chunking: Chunking = whole) -> Established:
    """Run a handshake to its end."""
    assert feed(ours, theirs.hello(), chunking) is None
    request = b"".join(map(theirs.receive, chunking(ours.data_to_send())))
    assert request
    outcome = feed(ours, request, chunking)
    assert outcome is not None
    for chunk in chunking(ours.data_to_send()):
        assert theirs.receive(chunk) == b""
    assert theirs.selected == (PLAIN if outcome.encrypt is None else RC4)
    return outcome


def decrypted(outcome: Established, data: bytes) -> bytes:
    return data if outcome.decrypt is None else outcome.decrypt.update(data)


def encrypted(outcome: Established, data: bytes) -> bytes:
    return data if outcome.encrypt is None else outcome.encrypt.update(data)


def assert_they_talk(theirs: Dialler, outcome: Established) -> None:
    """Send payload both ways, twice."""
    assert theirs.payload() == b""
    for text in (LATER, HELLO):
        assert decrypted(outcome, theirs.send(text)) == text
        assert theirs.receive(encrypted(outcome, text)) == b""
        assert theirs.payload() == text


# -- handshakes that succeed


@pytest.mark.parametrize(
    ("policy", "provide", "chosen"),
    [
        ("allow", PLAIN, PLAIN),
        ("allow", PLAIN | RC4, PLAIN),
        ("allow", RC4, RC4),
        ("require", RC4, RC4),
        ("require", PLAIN | RC4, RC4),
        ("allow", 0xFFFF_FFFF, PLAIN),
        ("require", 0xFFFF_FFFE, RC4),
    ],
)
def test_plain_payload_is_taken_where_it_may_be_and_rc4_otherwise(
    policy: MsePolicy, provide: int, chosen: int
) -> None:
    theirs = Dialler(INFO_HASH, provide=provide, initial=HELLO)
    outcome = shake(theirs, responder(policy))
    assert outcome.info_hash == INFO_HASH
    assert theirs.selected == chosen
    assert (outcome.decrypt is None) == (outcome.encrypt is None) == (chosen == PLAIN)
    assert outcome.payload == HELLO
    assert_they_talk(theirs, outcome)


DIALLERS = st.builds(
    Dialler,
    st.just(OTHER_HASH),
    st.sampled_from([RC4, PLAIN | RC4]),
    st.binary(max_size=200),
    pad_a=PADS,
    pad_c=PADS,
    private_key=st.integers(2, 2**160 - 1),
)


@given(theirs=DIALLERS, policy=POLICIES, our_pad=PADS, chunking=CHUNKINGS)
@settings(max_examples=150)
def test_a_handshake_succeeds_however_it_is_cut(
    theirs: Dialler, policy: MsePolicy, our_pad: bytes, chunking: Pieces
) -> None:
    outcome = shake(theirs, responder(policy, our_pad), chunking)
    assert outcome.info_hash == OTHER_HASH
    assert outcome.payload == theirs.initial
    assert_they_talk(theirs, outcome)


@pytest.mark.parametrize("provide", [PLAIN, RC4])
def test_a_handshake_succeeds_byte_by_byte(provide: int) -> None:
    theirs = Dialler(INFO_HASH, provide, HELLO, pad_a=b"aaa", pad_c=b"c")
    outcome = shake(theirs, responder("allow", b"b"), by_byte)
    assert outcome.payload == HELLO
    assert_they_talk(theirs, outcome)


@pytest.mark.parametrize("provide", [PLAIN, RC4])
def test_what_comes_right_after_the_handshake_is_part_of_the_payload(provide: int) -> None:
    theirs, ours = Dialler(INFO_HASH, provide, HELLO), responder()
    feed(ours, theirs.hello())
    request = theirs.receive(ours.data_to_send())
    theirs.selected = provide  # it offers one method and need not wait to learn which it is
    outcome = feed(ours, request + theirs.send(LATER))
    assert outcome is not None
    assert outcome.payload == HELLO + LATER
    assert decrypted(outcome, theirs.send(b"and more")) == b"and more"


def test_pads_of_every_length_are_skipped_and_sent() -> None:
    for length in range(LONGEST_PAD + 1):
        pad = random.Random(length).randbytes(length)
        theirs = Dialler(INFO_HASH, RC4, HELLO, pad_a=pad, pad_c=pad)
        outcome = shake(theirs, responder("allow", pad))
        assert theirs.pad_b_length == length
        assert outcome.payload == HELLO


@pytest.mark.parametrize("provide", [PLAIN, RC4])
@pytest.mark.parametrize("length", [0, 1, 68, 4096, LONGEST_INITIAL])
def test_initial_payload_may_be_empty_or_long(provide: int, length: int) -> None:
    initial = random.Random(length).randbytes(length)
    theirs = Dialler(INFO_HASH, provide, initial)
    outcome = shake(theirs, responder(), Pieces([1500]))
    assert outcome.payload == initial
    assert_they_talk(theirs, outcome)


@pytest.mark.parametrize("strips_zeros", [False, True])
def test_no_handshake_fails_on_a_number_that_starts_with_a_zero(strips_zeros: bool) -> None:
    first = int.from_bytes(PRIVATE_KEY, "big")
    our_key = pow(GENERATOR, first, PRIME)
    of_zeros = [
        theirs for theirs in range(2, 3000) if pow(our_key, theirs, PRIME).bit_length() <= 8 * 95
    ]
    assert len(of_zeros) > 5
    for private_key in of_zeros:
        theirs = Dialler(INFO_HASH, RC4, HELLO, private_key=private_key, strips_zeros=strips_zeros)
        outcome = shake(theirs, responder())
        assert outcome.payload == HELLO
        assert len(theirs.secret) == 96
        assert theirs.secret[0]
        assert_they_talk(theirs, outcome)


def test_our_public_key_never_starts_with_a_zero() -> None:
    short = [key for key in range(1, 3000) if pow(GENERATOR, key, PRIME).bit_length() <= 8 * 95]
    # 2**1 to 2**759 are short by themselves; the others come by chance.
    assert len(short) > 765
    for key in short[::50] + short[-5:]:
        ours = Responder(
            index(INFO_HASH).find, "allow", private_key=key.to_bytes(20, "big"), pad_b=b""
        )
        theirs = Dialler(INFO_HASH, RC4, HELLO)
        assert feed(ours, theirs.hello()) is None
        answer = ours.data_to_send()
        assert answer[0]
        outcome = feed(ours, theirs.receive(answer))
        assert outcome is not None
        assert outcome.payload == HELLO


@pytest.mark.parametrize(
    ("private_key", "pad_b"),
    [(b"", b""), (bytes(19), b""), (bytes(21), b""), (PRIVATE_KEY, bytes(513))],
)
def test_randomness_of_a_wrong_length_is_a_fault_of_ours(private_key: bytes, pad_b: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Responder(index().find, "allow", private_key=private_key, pad_b=pad_b)


# -- what was agreed, against RC4 written out


def test_the_prime_is_the_safe_prime_of_the_specification() -> None:
    assert PRIME.bit_length() == 768
    for number in (PRIME, (PRIME - 1) // 2):
        assert pow(3, number - 1, number) == 1
    assert PRIME % 2**64 == 0x90563


def test_our_own_rc4_gives_the_published_vectors() -> None:
    assert PlainRc4(b"Key").update(b"Plaintext").hex() == "bbf316e8d940af0ad3"
    assert PlainRc4(b"Wiki").update(b"pedia").hex() == "1021bf0420"


def test_each_direction_has_its_own_key_and_drops_1024_bytes() -> None:
    theirs, ours = Dialler(INFO_HASH, RC4), responder()
    outcome = shake(theirs, ours)
    assert outcome.decrypt is not None
    assert outcome.encrypt is not None
    dialled = keystream(b"keyA", theirs.secret, INFO_HASH)
    answered = keystream(b"keyB", theirs.secret, INFO_HASH)
    dialled.update(bytes(8 + 4 + 2 + 2))  # VC, provide, two lengths
    answered.update(bytes(8 + 4 + 2))
    assert outcome.decrypt.update(bytes(5000)) == dialled.update(bytes(5000))
    assert outcome.encrypt.update(bytes(5000)) == answered.update(bytes(5000))


def test_the_answer_is_encrypted_zeros_the_method_and_an_empty_pad() -> None:
    theirs, ours = Dialler(INFO_HASH, RC4), responder("require", b"bb")
    feed(ours, theirs.hello())
    public_key = ours.data_to_send()
    assert len(public_key) == 96 + 2
    assert public_key.endswith(b"bb")
    feed(ours, theirs.receive(public_key))
    answered = keystream(b"keyB", theirs.secret, INFO_HASH)
    clear = answered.update(ours.data_to_send())
    assert clear == bytes(8) + b"\0\0\0\2" + b"\0\0"
    assert ours.data_to_send() == b""


def ciphers() -> tuple[Keystream, PlainRc4]:
    """Return our encrypting cipher and the same written out, both at the same place."""
    theirs = Dialler(INFO_HASH, RC4)
    outcome = shake(theirs, responder())
    assert outcome.encrypt is not None
    answered = keystream(b"keyB", theirs.secret, INFO_HASH)
    answered.update(bytes(8 + 4 + 2))
    return outcome.encrypt, answered


def test_a_batch_is_encrypted_in_place_and_into_a_buffer() -> None:
    ours, theirs = ciphers()
    data = random.Random(1).randbytes(40_000)
    batch = bytearray(data)
    assert ours.update_into(batch, batch) == len(data)
    assert batch == theirs.update(data)

    view = memoryview(bytearray(50_000))
    view[:40_000] = data
    assert ours.update_into(view[:40_000], view[:40_000]) == 40_000
    assert view[:40_000] == theirs.update(data)
    assert not any(view[40_000:])

    assert ours.update_into(data, view) == 40_000
    assert view[:40_000] == theirs.update(data)
    assert not any(view[40_000:])


def test_a_mebibyte_goes_in_one_call_in_another_thread() -> None:
    ours, theirs = ciphers()
    batch = bytearray(2**20)
    worker = threading.Thread(target=lambda: ours.update_into(batch, batch))
    worker.start()
    worker.join()
    assert batch == theirs.update(bytes(2**20))


def test_a_buffer_that_is_too_short_is_refused_and_the_keystream_does_not_move() -> None:
    ours, theirs = ciphers()
    with pytest.raises(ValueError, match="buffer"):
        ours.update_into(b"abc", bytearray(2))
    assert ours.update(b"abc") == theirs.update(b"abc")


@given(st.lists(st.binary(max_size=300), max_size=10))
@settings(max_examples=50)
def test_the_keystream_goes_on_from_update_to_update(parts: list[bytes]) -> None:
    ours, theirs = ciphers()
    assert b"".join(map(ours.update, parts)) == theirs.update(b"".join(parts))


# -- the torrents that can be named


def test_the_index_finds_what_was_added_and_not_what_was_discarded() -> None:
    found = index(INFO_HASH, OTHER_HASH)
    name = hashlib.sha1(b"req2" + INFO_HASH).digest()
    assert found.find(name) == INFO_HASH
    found.add(INFO_HASH)
    found.discard(INFO_HASH)
    found.discard(INFO_HASH)
    assert found.find(name) is None
    assert found.find(hashlib.sha1(b"req2" + OTHER_HASH).digest()) == OTHER_HASH


# -- hostile


def reason_of_failure(theirs: Dialler, ours: Responder, chunking: Chunking) -> str | None:
    """Run a handshake with bytes to spare; return why it failed, if it did."""
    try:
        feed(ours, theirs.hello(), chunking)
        request = theirs.receive(ours.data_to_send())
        feed(ours, request + bytes(1000), chunking)
    except WireError as error:
        return error.reason
    return None


def assert_fails(reason: str, theirs: Dialler, policy: MsePolicy = "allow") -> None:
    """Assert that a handshake fails for `reason`, whole and byte by byte, and isn't answered."""
    for chunking in (whole, by_byte):
        ours = responder(policy)
        assert reason_of_failure(replace(theirs), ours, chunking) == reason
        assert ours.data_to_send() == b""


@pytest.mark.parametrize(
    "key",
    [0, 1, PRIME - 1, PRIME, PRIME + 1, PRIME + 2, 2**768 - 1],
    ids=["0", "1", "P-1", "P", "P+1", "P+2", "the last"],
)
def test_31_a_public_key_outside_of_the_group_closes(key: int) -> None:
    assert_fails("mse-bad-key", Dialler(INFO_HASH, public_key=key))


@pytest.mark.parametrize("key", [2, PRIME - 2], ids=["2", "P-2"])
def test_31_the_least_and_the_greatest_public_key_are_taken(key: int) -> None:
    ours = responder()
    assert ours.receive(key.to_bytes(96, "big")) is None
    assert len(ours.data_to_send()) == 96


@pytest.mark.parametrize("length", [513, 1000, 65_535])
def test_31_a_pad_over_512_bytes_closes(length: int) -> None:
    assert_fails("mse-bad-pad", Dialler(INFO_HASH, pad_c_length=length))


def test_31_a_pad_of_513_bytes_before_our_key_closes_without_an_exponentiation() -> None:
    hello = Dialler(INFO_HASH, pad_a=bytes(513)).hello()
    with pytest.raises(WireError, match="mse-no-sync"):
        responder().receive(hello)
    assert responder().receive(hello[:-1]) is None


def test_31_a_pad_of_513_bytes_in_all_closes() -> None:
    theirs, ours = Dialler(INFO_HASH, pad_a=bytes(512)), responder()
    feed(ours, theirs.hello())
    request = theirs.receive(ours.data_to_send())
    with pytest.raises(WireError, match="mse-no-sync"):
        feed(ours, b"\0" + request)


def test_31_a_sync_that_is_never_found_closes_at_the_628th_byte() -> None:
    theirs, ours = Dialler(INFO_HASH, sync=b"reqX", pad_a=bytes(300)), responder()
    feed(ours, theirs.hello())
    request = theirs.receive(ours.data_to_send()) + bytes(600)
    assert ours.receive(request[: 627 - 396]) is None
    with pytest.raises(WireError, match="mse-no-sync"):
        ours.receive(request[627 - 396 : 628 - 396])
    assert_fails("mse-no-sync", Dialler(INFO_HASH, sync=b"reqX"))


@pytest.mark.parametrize("info_hash", [bytes(20), bytes(range(1, 21))])
def test_31_a_torrent_that_we_do_not_have_closes(info_hash: bytes) -> None:
    assert_fails("mse-unknown-torrent", Dialler(info_hash))


@pytest.mark.parametrize("vc", [b"\0" * 7 + b"\1", b"\x80" + bytes(7), b"\xff" * 8])
def test_31_a_wrong_verification_constant_closes(vc: bytes) -> None:
    assert_fails("mse-bad-vc", Dialler(INFO_HASH, vc=vc))


@pytest.mark.parametrize(
    ("policy", "provide"),
    [
        ("allow", 0),
        ("allow", 4),
        ("allow", 0xFFFF_FFFC),
        ("require", 0),
        ("require", PLAIN),
        ("require", 0xFFFF_FFFD),
    ],
)
def test_31_an_offer_without_a_method_of_ours_closes(policy: MsePolicy, provide: int) -> None:
    assert_fails("mse-no-method", Dialler(INFO_HASH, provide), policy)


@pytest.mark.parametrize("length", [LONGEST_INITIAL + 1, 65_535])
def test_31_an_initial_payload_that_is_too_long_closes_before_it_arrives(length: int) -> None:
    assert_fails("mse-bad-length", Dialler(INFO_HASH, initial_length=length))


@given(data=st.binary(max_size=2000), chunking=CHUNKINGS)
@settings(max_examples=300)
def test_garbage_raises_nothing_but_wire_errors(data: bytes, chunking: Pieces) -> None:
    try:
        outcome = feed(responder(), data, chunking)
    except WireError:
        assert len(data) >= 96
    else:
        assert outcome is None
        assert len(data) <= 96 + 512


@given(
    garbage=st.binary(min_size=1, max_size=100),
    at=st.integers(0, 300),
    policy=POLICIES,
    chunking=CHUNKINGS,
)
@settings(max_examples=300)
def test_a_handshake_with_garbage_in_it_raises_nothing_but_wire_errors(
    garbage: bytes, at: int, policy: MsePolicy, chunking: Pieces
) -> None:
    theirs, ours = Dialler(INFO_HASH, initial=HELLO, pad_c=bytes(100)), responder(policy)
    feed(ours, theirs.hello())
    request = bytearray(theirs.receive(ours.data_to_send()))
    request[at : at + len(garbage)] = garbage
    try:
        feed(ours, bytes(request), chunking)
    except WireError:
        assert ours.data_to_send() == b""


# -- telling plain BitTorrent from the rest


@pytest.mark.parametrize("length", range(20))
def test_a_start_of_the_plain_handshake_does_not_tell_yet(length: int) -> None:
    assert looks_plain(HELLO[:length]) is None
    assert looks_plain(bytearray(HELLO[:length])) is None


@pytest.mark.parametrize("length", [20, 21, 48, 68])
def test_20_bytes_of_the_plain_handshake_tell(length: int) -> None:
    assert looks_plain(memoryview(HELLO[:length])) is True


@pytest.mark.parametrize("start", [b"\0", b"\x14", b"\x13b", b"\x13BitTorrent protocoL", b"GET /"])
def test_the_first_other_byte_tells_that_it_is_not_plain(start: bytes) -> None:
    assert looks_plain(start) is False


# -- where OpenSSL has no RC4


def test_rc4_is_available_here() -> None:
    assert rc4_available()


def test_the_probe_says_no_where_openssl_has_no_legacy_algorithms() -> None:
    code = "from seeder.peer.mse import rc4_available; print(rc4_available())"
    environment = os.environ | {"CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"


# -- libtorrent as the dialler

CONTENT = random.Random(0).randbytes(5 * 64 * KIB + 1000)
CONTENT_LAYOUT = Layout(size=len(CONTENT), piece_length=64 * KIB)
RAW_INFO = build_info(
    name="content",
    layout=CONTENT_LAYOUT,
    pieces=b"".join(
        hashlib.sha1(CONTENT[start : start + 64 * KIB]).digest()
        for start in range(0, len(CONTENT), 64 * KIB)
    ),
)
CONTENT_HASH = InfoHash.of(RAW_INFO)
SEEDER_ADDRESS, LEECHER_ADDRESS = "127.0.0.8", "127.0.0.9"


class TinySeeder:
    """Seeds CONTENT to encrypted connections, one block at a time."""

    def __init__(self, policy: MsePolicy) -> None:
        self.policy = policy
        self.handshakes: list[tuple[Method, bytes]] = []
        """How each was done, and the start of its payload that came within it."""
        self.failures: list[str] = []
        self.failed = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream)
        except WireError as error:
            self.failures.append(error.reason)
            self.failed.set()
        except trio.BrokenResourceError:
            pass  # libtorrent has gone

    async def _serve(self, stream: trio.SocketStream) -> None:
        outcome = await self._shake(stream)
        encrypt = partial(encrypted, outcome)
        arrived, greeted = outcome.payload, False
        while True:
            if not greeted and len(arrived) >= HANDSHAKE_LENGTH:
                assert messages.parse_handshake(arrived).info_hash == CONTENT_HASH
                arrived = arrived[HANDSHAKE_LENGTH:]
                greeted = True
                hello = messages.handshake(CONTENT_HASH, b"-XX0001-seed01234567")
                have_all = messages.message(MessageId.HAVE_ALL)
                unchoke = messages.message(MessageId.UNCHOKE)
                await stream.send_all(encrypt(hello + have_all + unchoke))
            if greeted:
                parsed, used = messages.parse(arrived, 64 * KIB)
                arrived = arrived[used:]
                for message in parsed:
                    if isinstance(message, Requests):
                        for block in message.blocks:
                            await stream.send_all(encrypt(piece(*block)))
            data = await stream.receive_some()
            if not data:
                return
            arrived += decrypted(outcome, bytes(data))

    async def _shake(self, stream: trio.SocketStream) -> Established:
        find = index(CONTENT_HASH, INFO_HASH).find
        pad = random.Random(1).randbytes(100)
        ours = Responder(find, self.policy, private_key=PRIVATE_KEY, pad_b=pad)
        start = b""
        while (plain := looks_plain(start)) is None:
            start += await stream.receive_some()
        assert not plain
        step = ours.receive(start)
        while not isinstance(step, Established):
            await stream.send_all(ours.data_to_send())
            data = await stream.receive_some()
            if not data:
                raise trio.BrokenResourceError
            step = ours.receive(data)
        await stream.send_all(ours.data_to_send())
        assert step.info_hash == CONTENT_HASH
        method = Method.PLAIN if step.encrypt is None else Method.RC4
        self.handshakes.append((method, step.payload[: messages.INFO_HASH_END]))
        return step


def piece(number: int, begin: int, length: int) -> bytes:
    start = number * CONTENT_LAYOUT.piece_length + begin
    return piece_header(number, begin, length) + CONTENT[start : start + length]


def forced(level: int, *, prefer_rc4: bool = False) -> "lt.settings_pack":
    """Return settings that let libtorrent dial encrypted only, offering `level`."""
    return {
        "out_enc_policy": lt.enc_policy.pe_forced,
        "allowed_enc_level": level,
        "prefer_rc4": prefer_rc4,
    }


BOTH, PLAIN_ONLY, RC4_ONLY = lt.enc_level.pe_both, lt.enc_level.pe_plaintext, lt.enc_level.pe_rc4


@pytest.mark.parametrize(
    ("policy", "dialling", "method"),
    [
        ("allow", forced(RC4_ONLY, prefer_rc4=True), Method.RC4),
        ("require", forced(RC4_ONLY, prefer_rc4=True), Method.RC4),
        ("require", forced(BOTH), Method.RC4),
        ("allow", forced(BOTH), Method.PLAIN),
        ("allow", forced(PLAIN_ONLY), Method.PLAIN),
    ],
    ids=["rc4, allowed", "rc4, required", "both, required", "both, allowed", "plain, allowed"],
)
async def test_libtorrent_downloads_through_the_encryption(
    policy: MsePolicy, dialling: "lt.settings_pack", method: Method, tmp_path: Path
) -> None:
    seeder = TinySeeder(policy)
    with closing(
        Libtorrent(LEECHER_ADDRESS, tmp_path, encryption="any", settings=dialling)
    ) as leecher:
        async with trio.open_nursery() as nursery:
            await start(nursery, seeder, leecher, tmp_path)
            path = await trio.to_thread.run_sync(leecher.wait, 30.0)
            nursery.cancel_scope.cancel()
        assert path.read_bytes() == CONTENT
    assert seeder.failures == []
    # libtorrent puts its handshake into the initial payload.
    start_of_handshake = seeder.handshakes[0][1]
    assert [found for found, _ in seeder.handshakes] == [method]
    assert messages.parse_handshake(start_of_handshake).info_hash == CONTENT_HASH


async def test_libtorrent_that_offers_no_rc4_is_refused_where_it_is_required(
    tmp_path: Path,
) -> None:
    seeder = TinySeeder("require")
    dialling = forced(PLAIN_ONLY)
    with closing(
        Libtorrent(LEECHER_ADDRESS, tmp_path, encryption="any", settings=dialling)
    ) as leecher:
        async with trio.open_nursery() as nursery:
            await start(nursery, seeder, leecher, tmp_path)
            with trio.fail_after(30):
                await seeder.failed.wait()
            nursery.cancel_scope.cancel()
    assert set(seeder.failures) == {"mse-no-method"}
    assert seeder.handshakes == []


async def start(
    nursery: trio.Nursery, seeder: TinySeeder, leecher: Libtorrent, directory: Path
) -> None:
    """Open the seeder's listener, and let the leecher dial it."""
    listeners = await trio.open_tcp_listeners(0, host=SEEDER_ADDRESS)
    nursery.start_soon(partial(trio.serve_listeners, seeder.serve, listeners))
    source = directory / "content.torrent"
    source.write_bytes(
        torrent_file(RAW_INFO, trackers=[["http://127.0.0.1:1/announce"]], created_by="tests")
    )
    leecher.add(source)
    leecher.connect((SEEDER_ADDRESS, listeners[0].socket.getsockname()[1]))
