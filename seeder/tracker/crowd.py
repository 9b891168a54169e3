"""Peers kept so that a random sample costs no more in a large swarm than in a small one. No I/O."""

from array import array
from typing import Protocol

from seeder.tracker.columns import trim


class RandomFloats(Protocol):
    """Gives random floats; `random.Random` does."""

    def random(self) -> float:
        """Return a float from 0 up to, not including, 1."""


class Crowd:
    """Peers with endpoints of one length in random order, so that any run is a random sample.

    A newcomer changes places with a random peer (the inside-out shuffle of Fisher and Yates), a
    leaver's place goes to the last one, and of the peers that announce again some are put
    elsewhere. All endpoints lie in one piece of memory, so that a sample is a slice of it, in the
    form of the reply.

    Peers are known by their numbers, of which each is in one crowd at most.
    """

    __slots__ = ("_endpoints", "_places", "_rng", "_stride", "numbers")

    def __init__(self, stride: int, rng: RandomFloats, places: "array[int]") -> None:
        """Make a crowd of endpoints of `stride` bytes each.

        `places` has an entry for each number of a peer: its place in the crowd that it is in.
        """
        self._stride = stride
        self._rng = rng
        self._endpoints = bytearray()
        self._places = places
        self.numbers = array("i")
        """Who is at each place; to be looked at only, and faster than by asking."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, number: int) -> bool:
        # What stands in `places` may be the place in another crowd, or in none.
        numbers, place = self.numbers, self._places[number]
        return place < len(numbers) and numbers[place] == number

    def add(self, number: int, endpoint: bytes) -> None:
        """Take in a peer that isn't there."""
        numbers, places, endpoints = self.numbers, self._places, self._endpoints
        here = len(numbers)
        there = int(self._rng.random() * (here + 1))
        places[number] = there
        if there == here:
            numbers.append(number)
            endpoints += endpoint
            return
        # Who stood there goes to the end.
        other = numbers[there]
        numbers.append(other)
        numbers[there] = number
        places[other] = here
        start = there * self._stride
        endpoints += endpoints[start : start + self._stride]
        endpoints[start : start + self._stride] = endpoint

    def stir(self, number: int, endpoint: bytes) -> None:
        """Let a peer change places with a random one."""
        numbers, places, stride = self.numbers, self._places, self._stride
        here, there = places[number], int(self._rng.random() * len(numbers))
        if here == there:
            return
        other = numbers[there]
        numbers[here], numbers[there] = other, number
        places[other], places[number] = here, there
        endpoints = self._endpoints
        here, there = here * stride, there * stride
        endpoints[here : here + stride] = endpoints[there : there + stride]
        endpoints[there : there + stride] = endpoint

    def remove(self, number: int, endpoint: bytes) -> None:
        """Let go of a peer that is there; KeyError otherwise."""
        if number not in self:
            raise KeyError(endpoint)
        numbers, endpoints, stride = self.numbers, self._endpoints, self._stride
        place, last = self._places[number], numbers.pop()
        if last != number:
            numbers[place] = last
            self._places[last] = place
            endpoints[place * stride : (place + 1) * stride] = endpoints[-stride:]
        del endpoints[-stride:]
        trim((numbers,), len(numbers))

    def has(self, number: int, _endpoint: bytes) -> bool:
        """Tell whether a peer is there."""
        return number in self

    def renumber(self, number: int, other: int, _endpoint: bytes) -> None:
        """Let a peer that is there have another number, which nobody has."""
        place = self._places[other] = self._places[number]
        self.numbers[place] = other

    def sample(self, count: int, without: int = -1) -> bytearray:
        """Return up to `count` random endpoints end to end, none twice.

        That of the peer `without` is never among them; -1 is nobody.
        """
        numbers, stride = self.numbers, self._stride
        total = others = len(numbers)
        if without >= 0:
            # As `in` has it; a call is dear here.
            place = self._places[without]
            if place < total and numbers[place] == without:
                others -= 1
        count = count if count < others else others
        if count <= 0:
            return bytearray()
        start = int(self._rng.random() * total)
        end, cut = start + count, total
        if others < total:
            # So far behind the start it is, perhaps in the run, which then is longer by one.
            cut = (place - start) % total
            if cut < count:
                end += 1
        run = self._endpoints[start * stride : end * stride]
        if end > total:
            run += self._endpoints[: (end - total) * stride]
        if cut < count:
            del run[cut * stride : (cut + 1) * stride]
        return run
