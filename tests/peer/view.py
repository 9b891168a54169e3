"""What a peer makes of all that it is told, and what may never be told to it."""

from collections import Counter

from seeder.peer import messages
from seeder.peer.messages import Block, Message, MessageId
from seeder.torrent.layout import bitfield_indices

DONTHAVE_ID = 9
"""The id under which peers of the tests take "don't have"."""


class View:
    """What a peer knows: whether it may ask, what there is, and what it waits for."""

    def __init__(self, pieces: int, *, fast: bool) -> None:
        self.pieces = pieces
        self.fast = fast
        self.opened = False
        self.choked = True
        self.interest_unanswered = 0
        """How often an unchoke is said again: some clients need it when they want something."""
        self.has: set[int] = set()
        self.outstanding: Counter[Block] = Counter()

    def ask(self, block: Block) -> None:
        """A request was sent that is owed an answer."""
        self.outstanding[block] += 1

    def answer(self, block: Block) -> None:
        assert self.outstanding[block], f"{block} was not asked for, or is answered already"
        self.outstanding -= Counter([block])

    def block(self, block: Block) -> None:
        """A block came."""
        assert not self.choked
        assert block[0] in self.has
        self.answer(block)

    def take_in(self, message: Message) -> None:
        """Any other message came."""
        match message.id:
            case MessageId.REJECT:
                assert self.fast
                self.answer(message.block())
            case MessageId.CHOKE:
                assert not self.choked
                self.choked = True
                if not self.fast:
                    self.outstanding.clear()
            case MessageId.UNCHOKE:
                if not self.choked:
                    assert self.interest_unanswered
                    self.interest_unanswered -= 1
                self.choked = False
            case MessageId.HAVE:
                assert message.index() not in self.has
                self.has.add(message.index())
            case MessageId.EXTENDED if message.payload[0] == DONTHAVE_ID:
                self.lose(int.from_bytes(message.payload[1:]))
            case MessageId.EXTENDED:
                assert message.payload[0] == 0
                assert not self.opened
            case MessageId.HAVE_ALL | MessageId.HAVE_NONE | MessageId.BITFIELD:
                assert not self.opened
                self.opened = True
                assert self.fast == (message.id != MessageId.BITFIELD)
                has: bytes | bool = message.id == MessageId.HAVE_ALL
                if message.id == MessageId.BITFIELD:
                    assert messages.bitfield_fits(message.payload, self.pieces)
                    has = message.payload
                self.has = set(bitfield_indices(has, self.pieces))
            case messages.KEEP_ALIVE_ID:
                pass
            case _:
                raise AssertionError(f"nobody expects {message}")

    def lose(self, index: int) -> None:
        assert index in self.has
        self.has.remove(index)
        if not self.fast:  # then this is the answer to what was asked of the piece
            for block in [block for block in self.outstanding if block[0] == index]:
                del self.outstanding[block]
