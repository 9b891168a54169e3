"""What goes out to one peer: batches of messages and blocks, in turns that leave room for others.

A batch is what the protocol owes the peer, then blocks of the pieces at hand, as far as the upload
limits allow. Small messages needn't wait for these, as far as the peer's address has an allowance;
they are paid for afterwards, like the headers of blocks.

Whoever has something to send tries at once, in its own task; only what a full socket leaves over,
or what is more than a turn, waits in a drain task.
"""

import socket
from collections.abc import Callable, Sequence

import trio

from seeder.net.passes import Passes
from seeder.peer import messages
from seeder.peer.batch import READ_BLOCKS, Batch, Scratch
from seeder.peer.encryption import EncryptionLayer
from seeder.peer.guest import PeerGuest
from seeder.peer.hashes import HashLookups
from seeder.peer.protocol import Phase
from seeder.upload.feed import Feed
from seeder.upload.rates import Chain

BATCH_BLOCKS = 64
"""Blocks of 16 KiB: a mebibyte per sendmsg, far from the kernel's limit of 1024 buffers."""
ENCRYPTED_BATCH_BLOCKS = 32
"""Fewer, because encrypting holds up the loop, and so all other peers, for 1.4 ms per mebibyte."""
LEAST_READ = 4
"""Blocks read from disk or encrypted at a time for a peer whose socket takes no more."""
BATCHES_A_TURN = 4
"""Batches that one peer is sent before the others get their turn."""


class Output:
    """One peer's way out; `send` and `drain` raise what the socket or the protocol raises.

    `start_drain` has `drain` run in a task.
    """

    __slots__ = (
        "_batch",
        "_encryption",
        "_guest",
        "_passes",
        "_prepaid",
        "_reach",
        "_scratch",
        "_sock",
        "_start_drain",
        "_taken",
        "_wire",
        "draining",
        "feed",
        "finishing",
        "lookups",
        "sent_at",
        "served_at",
        "withholds",
    )

    def __init__(
        self,
        sock: socket.socket,
        guest: PeerGuest,
        encryption: EncryptionLayer,
        start_drain: Callable[[], None],
        *,
        passes: Passes,
        scratch: Scratch,
        now: float,
    ) -> None:
        self.feed: Feed | None = None
        """Where blocks come from, once the torrent is known."""
        self.withholds: Callable[[int, float], bool] | None = None
        """Tells whether the requests for a piece have to wait (its index, the time in s).

        For speed a plain call of `Thrift.withholds`, once for each wanted piece and batch, in the
        task that sends.
        """
        self.lookups: HashLookups | None = None
        """Where answers to requests for hashes come from; None unless the torrent is a hybrid."""
        self.draining = False
        """Whether a task waits for the socket, or for its turn."""
        self.finishing = False
        """Whether the batch under way is the last one."""
        self.sent_at = now
        """When the socket took something last."""
        self.served_at = now
        """When the socket took a block last."""
        self._sock = sock
        self._guest = guest
        self._wire = guest.wire
        self._encryption = encryption
        self._start_drain = start_drain
        self._passes = passes
        self._scratch = scratch
        self._batch = Batch()
        self._taken = 0
        """Bytes of the batch that the socket took."""
        self._prepaid = 0
        """Bytes that the upload limits granted for messages of the batch."""
        self._reach = LEAST_READ
        """Blocks to read from disk or to encrypt at a time: twice as many as the socket took."""

    def send(self) -> None:
        """Send as much as goes without waiting; leave the rest to a drain task."""
        if not self.draining and self._send_turn():
            self.draining = True
            self._start_drain()

    def look_ahead(self, indices: Sequence[int]) -> None:
        """Ask for those of the pieces that are cold, though none of them can be sent yet."""
        if self.feed is not None:
            withholds, now = self.withholds, trio.current_time()
            if withholds is not None:
                indices = [index for index in indices if not withholds(index, now)]
            self.feed.look_ahead(indices)

    async def drain(self) -> None:
        """Send until nothing sendable is left, waiting for the socket."""
        try:
            while self._wire.phase is not Phase.CLOSED:
                if not (await self._comes_to_send() and self._send_turn()):
                    break
        finally:
            self.draining = False

    async def _comes_to_send(self) -> bool:
        """Wait for the socket and for a turn; False if the connection has been closed meanwhile."""
        await trio.lowlevel.wait_writable(self._sock)
        if self._passes.in_haste:
            await self._passes.turn()
        return self._wire.phase is not Phase.CLOSED

    def let_go(self) -> None:
        """Hold no pieces for the batch under way: what hasn't begun to go out is queued again."""
        chain = self._guest.allotment.chain
        for index, blocks in self._batch.take_back():
            self._wire.give_back(index, blocks)
            if chain is not None:
                chain.give_back(sum(length for _, length in blocks))

    def settle(self) -> None:
        """Book what of the batch has reached the socket, and give the rest up."""
        taken, self._taken = self._taken, 0
        guest, progress, chain = self._guest, self._guest.progress, self._guest.allotment.chain
        for index, payload in self._batch.settle():
            assert progress is not None
            self.served_at = self.sent_at
            shown = progress.sent(index, payload, self.sent_at)
            if shown:
                # Goes with the next batch: after each that went out, there is a look for one.
                self._wire.show(shown)
            taken -= payload
        if taken:
            guest.sent_besides(taken)
        if chain is not None and taken != self._prepaid:
            chain.give_back(self._prepaid - taken)
        self._prepaid = 0

    def _send_turn(self) -> bool:
        """Send some batches; True when more is ready but the socket is full or the turn is over."""
        for _ in range(BATCHES_A_TURN):
            if not self._batch and (self.finishing or not self._fill()):
                return False
            if not self._flush():
                return True
        return True

    def _fill(self) -> bool:
        """Gather the next batch: what the protocol owes, then blocks of pieces at hand."""
        wire, batch, feed, chain = self._wire, self._batch, self.feed, self._guest.allotment.chain
        self._scratch.clear()
        negotiation = self._encryption.data_to_send()
        if negotiation:
            batch.add(negotiation)
            return True
        encrypt = self._encryption.encrypt
        if chain is None:
            self._add_messages(answer=True)
        elif not self._add_messages_granted(chain):
            return False
        if feed is not None and wire.wanted:
            # Encrypted blocks can't be queued again: add no more than the socket may take.
            room = min(ENCRYPTED_BATCH_BLOCKS, self._reach) if encrypt else BATCH_BLOCKS
            if chain is None:
                self._add_blocks(feed, room)
            else:
                self._add_granted(feed, chain, room)
        if encrypt is not None and batch:
            batch.encrypt(encrypt, self._scratch.sealed)
        return bool(batch)

    def _add_messages(self, *, answer: bool) -> None:
        """Put what the protocol owes into the batch; with `answer`, metadata and hashes too."""
        wire, batch, lookups = self._wire, self._batch, self.lookups
        if answer and wire.owes_metadata:
            wire.answer_metadata(self._guest.may_describe)
        control = wire.data_to_send()
        if answer and lookups is not None:
            control += lookups.take()
        if control:
            batch.add(control)

    def _add_messages_granted(self, chain: Chain) -> bool:
        """Put messages into the batch as the upload limits allow; False if nothing may go now.

        What takes bytes worth waiting for, parts of the metadata and hashes, waits like blocks.
        """
        wire, lookups = self._wire, self.lookups
        small, large = wire.unsent, messages.BLOCK_SIZE if wire.owes_metadata else 0
        if lookups is not None:
            large += lookups.ready
        if not (small or large):
            return True
        now = trio.current_time()
        goes = not small or self._guest.may_leave(small, now)
        granted = 0
        if large or not goes:
            most = large + (0 if goes else small)
            granted = chain.grant(most, now)
            self._prepaid += granted
            if not granted:
                self._guest.allotment.wait_in_line(most, now)
        if granted or goes:
            self._add_messages(answer=bool(granted))
        return bool(granted) or goes

    def _add_granted(self, feed: Feed, chain: Chain, room: int) -> None:
        """Put as many blocks into the batch as the upload limits allow; else wait for a turn."""
        now = trio.current_time()
        most = min(room, self._wire.wanted_count) * messages.BLOCK_SIZE
        granted = chain.grant(most, now)
        if granted:
            used = self._add_blocks(feed, max(1, granted // messages.BLOCK_SIZE))
            chain.give_back(granted - used)
        else:
            self._guest.allotment.wait_in_line(most, now)

    def _add_blocks(self, feed: Feed, room: int) -> int:
        """Put blocks of pieces at hand into the batch, about `room` of them; ask for the others.

        Returns their bytes.
        """
        wire, batch, waiting, withholds = self._wire, self._batch, feed.waiting, self.withholds
        now, added, reach = trio.current_time(), 0, self._reach
        for index in tuple(wire.wanted):
            if index in waiting or (withholds is not None and withholds(index, now)):
                continue
            piece = feed.find(index)
            if piece is not None:
                blocks = wire.take(index, room)
                payload = batch.add_blocks(index, piece, blocks)
                used = max(len(blocks), payload // messages.BLOCK_SIZE)
            else:
                used, payload = self._read_blocks(feed, index, min(room, reach))
                reach -= used
            added += payload
            room -= used
            if room <= 0 or reach <= 0:
                break
        feed.fetch()
        return added

    def _read_blocks(self, feed: Feed, index: int, room: int) -> tuple[int, int]:
        """Put blocks of a piece on disk into the batch, or put a cold one in line.

        Returns how much of the room they use, and their bytes.
        """
        wire, scratch = self._wire, self._scratch
        if not feed.is_on_disk(index):
            feed.line_up(index)
            return 0, 0
        blocks = wire.take(index, room)
        if not scratch.has_room(blocks[0][1]):
            wire.give_back(index, blocks)
            return room, 0
        count, read = scratch.read(index, blocks, feed.read)
        if count < len(blocks):
            wire.give_back(index, blocks[count:])
        if not count:
            feed.line_up(index)
            return 0, 0
        payload = self._batch.add_borrowed(index, blocks[:count], read)
        # Where some didn't fit, the batch is full: no other piece may overtake them.
        full = count < len(blocks)
        return room if full else max(count, payload // messages.BLOCK_SIZE), payload

    def _flush(self) -> bool:
        """Write the batch; False when the socket took only a part of it."""
        batch = self._batch
        borrows = batch.borrows
        done = False
        try:
            count = self._sock.sendmsg(batch.buffers)
            self._taken += count
            self.sent_at = trio.current_time()
            done = batch.sent(count)
            if borrows:
                self._adapt(count, done)
        except (BlockingIOError, InterruptedError):
            self._reach = LEAST_READ
        finally:
            if borrows and not done:
                # Also after an error: the next batch overwrites the borrowed memory.
                self.let_go()
        if done or not batch:
            self.settle()
        return done

    def _adapt(self, count: int, done: bool) -> None:
        """Next time, read about as much as the socket has shown that it takes."""
        if done:
            self._reach = min(READ_BLOCKS, 2 * self._reach)
        else:
            self._reach = min(READ_BLOCKS, max(LEAST_READ, count // messages.BLOCK_SIZE))
