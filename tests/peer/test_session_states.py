"""seeder/peer/STATES.md says of a session's states what the source does."""

from pathlib import Path

from seeder.peer.protocol import NEXT, Kind, Phase
from seeder.peer.reasons import CLOSES, REFUSALS
from tests.peer import states
from tests.peer.node import blocks_of, make_data, serving
from tests.peer.states import HOLDERS, broken_rules, changes, code_in, reasons, rows

DATA = make_data(3 * 64 * 1024)


def test_whatever_changes_is_listed_with_all_that_change_it() -> None:
    listed = {}
    for cell, _, by in rows("What can change"):
        [name] = code_in(cell)
        holder, _, attribute = name.partition(".")
        assert (holder, attribute) not in listed
        listed[holder, attribute] = set(code_in(by))
    assert listed == changes()


def test_every_holder_is_named_with_its_module() -> None:
    table = states.PAGE.partition("| --- | --- | --- |\n")[2].partition("\n\n")[0]
    named = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    assert {holder.strip("`"): module for holder, module, _ in named} == {
        holder: f"{module}.py" for holder, module in HOLDERS.items()
    }


def test_every_phase_is_listed() -> None:
    assert [row[0] for row in rows("Phases")] == [phase.name for phase in Phase]


def test_the_transitions_are_those_of_the_protocol() -> None:
    listed = rows("Transitions")
    by_message = {
        (Phase[start], Kind[on]): Phase[to] for start, on, to, _ in listed if on in Kind.__members__
    }
    assert by_message == NEXT
    by = {method for row in listed for method in code_in(row[3])}
    assert by == changes()["PeerConnection", "phase"]


def test_every_reason_to_close_is_listed() -> None:
    listed = [reason for row in rows("How it ends") for reason in code_in(row[0])]
    assert len(set(listed)) == len(listed)
    # The daemon gives it, when it lets a torrent go.
    assert set(listed) == reasons() | {"retired", "moved"}
    assert list(CLOSES) == listed
    assert set(REFUSALS) < set(listed)


async def test_a_rule_that_is_broken_is_seen(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, 64 * 1024)) as node, node.peer() as peer:
        await node.warm()
        await peer.download(node.torrent, blocks_of(node.torrent), ahead=4)
        [session] = node.sessions()
        assert broken_rules(session) == []
        session.wire.retired = True
        assert broken_rules(session) == ["wire.retired and not wire.choking"]
        session.wire.retired = False
        session._output.finishing = True
        assert broken_rules(session) == ["output.finishing and not log.reason"]
        session._output.finishing = False


async def test_the_watch_sees_what_breaks_a_rule_for_a_step(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, 64 * 1024)) as node, node.peer():
        [session] = node.sessions()
        session.wire.retired = True
        await node.warm()
        session.wire.retired = False
        assert node.watch.broken == {"wire.retired and not wire.choking"}
        node.watch.broken.clear()
