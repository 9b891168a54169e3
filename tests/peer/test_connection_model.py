"""The peer connection against a model, and against what a peer makes of all that it is told."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seeder.errors import WireError
from seeder.peer import connection, messages, requests
from seeder.peer.connection import Identity, PeerConnection
from seeder.peer.messages import Block, MessageId
from seeder.peer.protocol import Arrived, Event, Gained, Greeted, Grown, Identified, Introduced
from seeder.peer.requests import LARGEST_BLOCK
from seeder.torrent import bencode
from seeder.torrent.layout import Layout
from tests.peer.states import broken_rules_of_wire
from tests.peer.view import DONTHAVE_ID, View
from tests.peer.wire import (
    INFO_HASH,
    OUR_ID,
    PEER_ID,
    FakeTorrent,
    cancel_message,
    greeting,
    holds,
    read,
    request_message,
)

LAYOUT = Layout(size=2 * 40 + 25, piece_length=40)
PIECES = LAYOUT.piece_count
TORRENT = FakeTorrent(layout=LAYOUT)
QUEUE, UNSENT, LONGEST = 6, 150, 100
MOST_TAKEN = 4

ids = st.integers(0, PIECES - 1)
good_blocks = st.tuples(ids, st.sampled_from([0, 10, 20]), st.sampled_from([10, 5]))
blocks = st.one_of(
    good_blocks,
    good_blocks,
    st.tuples(
        st.integers(0, PIECES),
        st.sampled_from([0, 10, 20, 30]),
        st.sampled_from([0, 5, 10, LARGEST_BLOCK + 1]),
    ),
)


chat = st.one_of(
    st.tuples(st.just("tell_interest"), st.booleans()),
    st.tuples(st.just("have"), ids),
    st.tuples(st.just("have"), st.integers(0, PIECES)),
    st.tuples(
        st.just("tell_pieces"),
        st.sampled_from([MessageId.HAVE_ALL, MessageId.HAVE_NONE, MessageId.BITFIELD]),
        st.sampled_from([b"\x00", b"\x80", b"\xe0", b"\xf0", b"", b"\x80\x00"]),
    ),
    st.tuples(st.just("introduce"), st.booleans()),
    st.tuples(st.just("chatter"), st.sampled_from([0, 1, 7, 9, 10, 13, 16, 17, 21])),
    st.just(("keep_alive",)),
)
acts = st.one_of(
    st.just(("unchoke",)),
    st.just(("unchoke",)),
    st.just(("unchoke",)),
    st.just(("choke",)),
    st.tuples(st.just("reject_piece"), ids),
    st.tuples(st.just("show"), st.sets(ids)),
    st.tuples(st.just("lose"), ids),
    st.tuples(st.just("regain"), ids),
    st.tuples(st.just("regain"), ids),
    st.tuples(st.just("retire"), st.sets(ids)),
    st.just(("stay_in_touch",)),
)


class Ends(Exception):
    """The model expects the conversation to end here; the text is the reason."""


@dataclass
class Said:
    """A message of the peer that has not wholly arrived; `take` brings the model up to date."""

    size: int
    take: Callable[[], None]


class ConnectionMachine(RuleBasedStateMachine):
    """A peer says anything, in chunks of any size, while the session serves it as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for module, name, value in (
            (requests, "REQUEST_QUEUE", QUEUE),
            (connection, "REQUEST_QUEUE", QUEUE),
            (connection, "MOST_UNSENT", UNSENT),
            (connection, "LONGEST_MESSAGE", LONGEST),
        ):
            self.patch.setattr(module, name, value)
        self.open(fast=True, hides=False, ready=False)

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(
        fast=st.booleans(), hides=st.booleans(), ready=st.sampled_from([True, True, True, False])
    )
    def open(self, *, fast: bool, hides: bool, ready: bool) -> None:
        """Begin from nothing, or where both are greeted and most pieces were shown."""
        self.fast, self.hides = fast, hides
        identity = Identity(OUR_ID, "seeder/0", bytes((127, 0, 0, 1)))
        self.wire = PeerConnection(
            identity, {INFO_HASH: TORRENT}.get, 0.0, hides=lambda _: self.hides
        )
        self.view = View(PIECES, fast=fast)
        self.greeted = False
        self.unsent, self.said = b"", list[Said]()
        self.events: list[Event] = []
        self.reading = self.choking = True
        self.unchoke_waits = False
        self.identified = self.interested = self.asked = self.understands = self.retired = False
        self.shown: set[int] | None = set() if hides else None
        self.queue: list[Block] = []
        self.batch: list[Block] = []
        """Taken, and not sent yet."""
        self.bad = self.overflow = self.answered = self.haves = self.openers = (
            self.introductions
        ) = 0
        hello = greeting(fast=fast)
        self.say(hello[:48], lambda: self.events.append(Greeted(TORRENT)))
        self.say(hello[48:], self.identify)
        if ready:
            self.introduce(True)
            self.arrive_all()
            self.unchoke()
            if self.shown is not None:
                self.show({0, 1})

    def identify(self) -> None:
        self.events.append(Identified(PEER_ID))
        self.identified = True

    # -- what the peer says

    def say(self, wire: bytes, take: Callable[[], None]) -> None:
        self.unsent += wire
        self.said.append(Said(len(wire), take))

    def say_message(self, number: int, payload: bytes, take: Callable[[], None]) -> None:
        def take_unless_fast_is_missing() -> None:
            if number in messages.FAST_IDS and not self.fast:
                raise Ends("fast-not-negotiated")
            take()

        self.say(messages.message(number, payload), take_unless_fast_is_missing)

    @rule()
    def arrive_all(self) -> None:
        self.arrive(len(self.unsent))

    @rule(size=st.integers(1, 120))
    def arrive(self, size: int) -> None:
        """Let up to so many bytes arrive."""
        chunk, self.unsent = self.unsent[:size], self.unsent[size:]
        left, self.events = len(chunk), []
        ends = None
        while self.said and left:
            first = self.said[0]
            if left < first.size:
                first.size -= left
                break
            left -= self.said.pop(0).size
            try:
                first.take()
            except Ends as end:
                ends = str(end)
                break
        ended, events = None, list[Event]()
        try:
            events = self.wire.receive(chunk, 0.0)
        except WireError as error:
            ended = error.reason
        if len(self.wire._out) > LONGEST + UNSENT:
            assert ended == (ends or "answers-unread")
        else:
            assert ended == ends
        if ended:
            self.open(fast=self.fast, hides=self.hides, ready=True)
        else:
            assert events == self.events

    @rule(wanted=st.lists(blocks, min_size=1, max_size=8), at_once=st.booleans())
    def request(self, wanted: list[Block], at_once: bool) -> None:
        for block in wanted:
            self.say(request_message(block), partial(self.take_request, block))
        if at_once:
            self.arrive_all()

    def take_request(self, block: Block) -> None:
        if block not in self.queue:  # doubled, it gets one answer
            self.view.ask(block)
        self.interested = True
        if self.choking:
            return
        self.asked = True
        hidden = self.shown is not None and block[0] not in self.shown
        if block[0] < PIECES and (hidden or block[0] in self.wire.lost):
            return
        if not holds(LAYOUT, block) or block[2] > LARGEST_BLOCK:
            self.bad += 1
            if self.bad == requests.MOST_BAD_REQUESTS:
                raise Ends("bad-requests")
        elif block[:2] in [queued[:2] for queued in self.queue]:
            pass
        elif len(self.queue) >= QUEUE:
            if self.answered > 0:
                self.overflow = self.answered = 0
            self.overflow += 1
            if self.overflow > QUEUE:
                raise Ends("request-flood")
        else:
            self.queue.append(block)

    @rule(block=blocks, at=st.integers(0, QUEUE), at_once=st.booleans())
    def cancel(self, block: Block, at: int, at_once: bool) -> None:
        """Cancel what is queued, if anything is; or a block of another length there."""
        if self.queue and at < QUEUE:
            index, begin, _ = self.queue[at % len(self.queue)]
            block = index, begin, block[2]

        def take() -> None:
            if block in self.queue:
                self.queue.remove(block)

        self.say(cancel_message(block), take)
        if at_once:
            self.arrive_all()

    @rule(what=chat, at_once=st.booleans())
    def say_something_else(self, what: tuple[Any, ...], at_once: bool) -> None:
        name, *arguments = what
        getattr(self, name)(*arguments)
        if at_once:
            self.arrive_all()

    def tell_interest(self, interested: bool) -> None:
        def take() -> None:
            self.interested = interested
            self.view.interest_unanswered += interested and not self.wire.choking

        number = MessageId.INTERESTED if interested else MessageId.NOT_INTERESTED
        self.say_message(number, b"", take)

    def have(self, index: int) -> None:
        def take() -> None:
            if index == PIECES:
                raise Ends("have-out-of-range")
            self.haves += 1
            self.events.append(Gained(index))

        self.say(messages.have(index), take)

    def tell_pieces(self, opener: MessageId, bits: bytes) -> None:
        def take() -> None:
            if opener == MessageId.BITFIELD and bits not in (b"\x00", b"\x80", b"\xe0"):
                raise Ends("bad-bitfield")
            pieces = bits if opener == MessageId.BITFIELD else opener == MessageId.HAVE_ALL
            if self.haves or self.asked:
                self.events.append(Grown(pieces))
                return
            self.openers += 1
            if self.openers > connection.MOST_OPENERS:
                raise Ends("bitfield-flood")
            self.events.append(Arrived(pieces))

        self.say_message(opener, bits if opener == MessageId.BITFIELD else b"", take)

    def introduce(self, understands: bool) -> None:
        def take() -> None:
            self.introductions += 1
            if self.introductions > 10:
                raise Ends("extended-handshake-flood")
            self.understands = understands
            self.events.append(Introduced("abc"))

        names: dict[bytes, bencode.Value] = {b"lt_donthave": DONTHAVE_ID if understands else 0}
        self.say(messages.extended(0, bencode.encode({b"m": names, b"v": b"abc"})), take)

    def chatter(self, number: int) -> None:
        """Say what means nothing to a seeder, and what must not be said to one."""

        def take() -> None:
            if number == MessageId.PIECE:
                raise Ends("piece-to-a-seed")

        length = {9: 2, 13: 4, 16: 12, 17: 4}.get(number, 0)
        self.say_message(number, bytes(length), take)

    def keep_alive(self) -> None:
        self.say(bytes(4), lambda: None)

    # -- what the session does

    @precondition(lambda self: self.identified)
    @rule(what=acts)
    def act(self, what: tuple[Any, ...]) -> None:
        name, *arguments = what
        getattr(self, name)(*arguments)

    @precondition(lambda self: self.queue or self.batch)
    @rule(
        at=st.integers(0, QUEUE), most=st.integers(1, MOST_TAKEN), sent=st.integers(0, MOST_TAKEN)
    )
    def serve(self, at: int, most: int, sent: int) -> None:
        if self.batch:
            self.send(sent)
        else:
            self.take(self.queue[at % len(self.queue)][0], most)
            if not self.fast:
                # Who asks again before it has read what it was told can't know which answer is
                # whose.
                self.send(sent)

    def take(self, index: int, most: int) -> None:
        """Take the blocks of a batch, which goes out behind all that was said before."""
        due = [block for block in self.queue if block[0] == index][:most]
        self.listen()
        assert [(index, *block) for block in self.wire.take(index, most)] == due
        self.queue = [block for block in self.queue if block not in due]
        self.batch = due
        self.answered += len(due)

    def send(self, most: int) -> None:
        """Send so many blocks of the batch; the others are queued again."""
        sent, rest = self.batch[:most], self.batch[most:]
        self.batch = []
        for block in sent:
            self.view.block(block)
        if not rest:
            return
        index = rest[0][0]
        self.answered -= len(rest)
        self.wire.give_back(index, [block[1:] for block in rest])
        if self.choking or index in self.wire.lost:
            return
        for block in rest:
            # Asked for again meanwhile: one answer.
            if block in self.queue:
                self.view.answer(block)
        begins = {block[1] for block in rest}
        self.queue = rest + [
            block for block in self.queue if block[0] != index or block[1] not in begins
        ]

    def reject_piece(self, index: int) -> None:
        self.wire.reject_piece(index)
        self.drop(index)

    def drop(self, index: int) -> None:
        self.queue = [block for block in self.queue if block[0] != index]

    def choke(self) -> None:
        self.wire.choke()
        self.choking = True
        self.unchoke_waits = False
        self.queue.clear()

    def unchoke(self) -> None:
        self.wire.unchoke()
        self.unchoke_waits = self.choking and not self.retired and self.shown == set()
        self.choking = self.choking and (self.retired or self.unchoke_waits)

    def show(self, indices: set[int]) -> None:
        if self.shown is not None:
            self.wire.show(sorted(indices - self.shown))
            if not self.retired:
                self.shown |= indices
            if self.shown and self.unchoke_waits:
                self.choking = self.unchoke_waits = False

    def lose(self, index: int) -> None:
        believed = self.shown is None or index in self.shown
        fresh = index not in self.wire.lost
        assert self.wire.lose(index) == (self.understands and believed and fresh)
        if self.understands and believed and fresh:
            self.drop(index)

    def regain(self, index: int) -> None:
        lost = index in self.wire.lost
        self.wire.regain(index)
        assert (index in self.wire.lost) == (lost and self.retired)

    def retire(self, lacking: set[int]) -> None:
        wanted = {block[0] for block in self.queue}
        self.wire.retire(sorted(lacking))
        self.queue.clear()
        self.choking = self.retired = True
        self.unchoke_waits = False
        if self.understands and not self.batch:
            self.listen()
            assert not self.view.has & (lacking | wanted)

    def stay_in_touch(self) -> None:
        self.wire.keep_alive()

    @precondition(lambda self: self.fast)
    @rule(reading=st.booleans())
    def read_or_not(self, reading: bool) -> None:
        """Without the fast extension, who asks before it reads can't know what became of it."""
        self.reading = reading

    # -- what holds

    def listen(self) -> None:
        """Let the peer read everything."""
        data = self.wire.data_to_send()
        if data and not self.greeted:
            assert data[:68] == messages.handshake(INFO_HASH, OUR_ID)
            self.greeted = True
            data = data[68:]
        for message in read(data):
            self.view.take_in(message)

    @invariant()
    def nothing_is_together_that_never_is(self) -> None:
        assert broken_rules_of_wire(self.wire) == []

    @invariant()
    def the_counts_agree(self) -> None:
        wanted = self.wire.wanted
        assert self.wire.wanted_count == len(self.queue) <= QUEUE + MOST_TAKEN
        assert all(wanted.values())
        assert {index: list(begins.items()) for index, begins in wanted.items()} == {
            index: [block[1:] for block in self.queue if block[0] == index]
            for index, _, _ in self.queue
        }
        assert self.wire.choking == self.choking
        assert self.wire.interested == self.interested

    @invariant()
    def what_the_peer_waits_for_is_what_is_queued(self) -> None:
        if not self.reading or self.batch:
            return
        self.listen()
        assert self.view.choked == self.choking
        assert self.view.outstanding >= Counter(self.queue)
        if self.fast:
            assert self.view.outstanding == Counter(self.queue)
        if self.view.opened and not self.retired:
            known = set(range(PIECES)) if self.shown is None else self.shown
            assert self.view.has == known - self.wire.lost


TestConnection = ConnectionMachine.TestCase
TestConnection.settings = settings(max_examples=250, stateful_step_count=50, deadline=None)
