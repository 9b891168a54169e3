"""Several guests at one address: who is served first, and how many clients they are taken for."""

from seeder.upload.sharers import AT_A_TIME, MOST_CLIENTS, Claim, Sharers, choose


def claim(guest: str, needs: int = 10, *, sent: int = 0, passed: int = 0) -> Claim[str]:
    return Claim(guest, needs, sent, passed, place=ord(guest))


def test_a_few_are_served_however_many_would_fit() -> None:
    claims = [claim(guest) for guest in "abcdefgh"]
    assert choose(claims, 79) == set("abcd")
    assert len(choose(claims, 79)) == AT_A_TIME


def test_who_is_served_for_long_keeps_nobody_waiting_beside_it() -> None:
    slow = [claim(guest, sent=5)._replace(settled=True) for guest in "abcd"]
    new = [claim(guest) for guest in "efghij"]
    assert choose([*slow, *new], 99) == set("abcdefgh")
    # But what is left has to be enough for each of them.
    assert choose([*slow, *new], 65) == set("abcdef")


def test_those_who_were_sent_most_come_to_their_end_first() -> None:
    late = claim("z", 90, sent=10)
    assert choose([*map(claim, "abc"), late], 95) == {"z"}
    # Who takes nothing comes behind all others, whatever it was sent.
    assert choose([*map(claim, "abc"), late._replace(passed=1)], 35) == set("abc")


def test_of_those_who_were_sent_as_much_who_lacks_least_goes_first() -> None:
    assert choose([claim("a", 90), claim("b", 80), claim("c", 10)], 95) == {"b", "c"}
    assert choose([claim("b"), claim("a")], 15) == {"a"}


def test_one_is_served_though_what_is_left_is_not_enough_for_it() -> None:
    assert choose([claim("a", 90), claim("b", 80)], 5) == {"b"}


def test_clients_are_those_that_were_there_together_and_not_too_many() -> None:
    sharers: Sharers[int] = Sharers()
    sharers.add(0, b"stays")
    for number in range(1, 100):
        sharers.add(number, b"%020d" % number)
        assert sharers.clients == 2
        sharers.remove(number)
    for number in range(1, 100):
        sharers.add(number, b"%020d" % number)
    assert sharers.clients == MOST_CLIENTS
