"""seeder/peer/STATES.md as data: its tables, and its rules, held against live sessions."""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import trio

from seeder.peer.connection import PeerConnection
from seeder.peer.hub import Hub
from seeder.peer.protocol import Phase
from seeder.peer.session import Session

ROOM = Path(__file__).parents[2] / "seeder" / "peer"
PAGE = (ROOM / "STATES.md").read_text(encoding="utf-8")

HOLDERS = {
    "Session": "session",
    "PeerGuest": "guest",
    "PeerConnection": "connection",
    "EncryptionLayer": "encryption",
    "Output": "output",
    "HashLookups": "hashes",
    "PeerProgress": "progress",
    "Refusals": "refusals",
    "Deadlines": "lifetime",
    "SessionLog": "log",
}
"""The classes that hold the state of a session, and their modules."""
_NAMES = {
    "wire": "PeerConnection",
    "_wire": "PeerConnection",
    "output": "Output",
    "_output": "Output",
    "_deadlines": "Deadlines",
    "_log": "SessionLog",
    "guest": "PeerGuest",
    "_guest": "PeerGuest",
}
"""What variables and attributes in the room hold one of them."""
_APART = frozenset({"_requests", "_scratch"})
"""Objects of their own that a holder has, and whose methods it calls."""
_REASON = re.compile("[a-z]+(-[a-z]+)*")
_CHANGING = frozenset({"add", "append", "clear", "discard", "pop", "popleft", "remove"})


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without those of its head."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    assert rest, f"no heading {title!r}"
    table = re.search(r"(?:^\|.*\n)+", rest.partition("\n## ")[0], re.MULTILINE)
    assert table is not None, f"no table below {title!r}"
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code_in(cell: str) -> list[str]:
    """Return what stands between backquotes."""
    return re.findall(r"`([^`]+)`", cell)


# -- what changes, by the source


def changes() -> dict[tuple[str, str], set[str]]:
    """Return which methods change each attribute of a holder after it was made."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module in sorted(set(HOLDERS.values())):
        tree = ast.parse((ROOM / f"{module}.py").read_text(encoding="utf-8"))
        for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for method in owner.body:
                if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                for holder, attribute in _changed(owner.name, method):
                    found[holder, attribute].add(f"{owner.name}.{method.name}")
    return found


def _changed(owner: str, method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[tuple[str, str]]:
    found = set()
    for node in ast.walk(method):
        target: ast.expr | None = None
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target = node.value if isinstance(node, ast.Subscript) else node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value if node.func.attr in _CHANGING else None
        if isinstance(target, ast.Attribute):
            holder = _holder(owner, target.value)
            made_here = method.name == "__init__" and holder == owner
            if holder in HOLDERS and target.attr not in _APART and not made_here:
                found.add((holder, target.attr))
    return found


def _holder(owner: str, value: ast.expr) -> str:
    if isinstance(value, ast.Name):
        return owner if value.id == "self" else _NAMES.get(value.id, "")
    return _NAMES.get(value.attr, "") if isinstance(value, ast.Attribute) else ""


def reasons() -> set[str]:
    """Return every reason to close that stands in the source."""
    upload = ROOM.parent / "upload"
    found: set[str] = set()
    for path in (*ROOM.glob("*.py"), upload / "connections.py", upload / "slots.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        states = {part for node in ast.walk(tree) if _tells_state(node) for part in ast.walk(node)}
        for node in ast.walk(tree):
            if node not in states:
                found.update(filter(_REASON.fullmatch, _texts_of(_told(node))))
    return found


def _tells_state(node: ast.AST) -> bool:
    """Tell whether a function returns how a connection stands, which is no reason to close."""
    return (
        isinstance(node, ast.FunctionDef)
        and isinstance(node.returns, ast.Name)
        and node.returns.id == "ConnectionState"
    )


def _told(node: ast.AST) -> ast.expr | None:
    """Return what a node gives as a reason, if it may be one that does."""
    if isinstance(node, ast.Call) and node.args:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return node.args[0] if name in ("WireError", "note", "end", "_Scarce") else None
    if isinstance(node, ast.Return):
        return node.value
    return node.value if isinstance(node, ast.Assign) and _is_reason(node.targets[0]) else None


def _texts_of(value: ast.expr | None) -> list[str]:
    if isinstance(value, ast.IfExp):
        return _texts_of(value.body) + _texts_of(value.orelse)
    return [value.value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []


def _is_reason(target: ast.expr) -> bool:
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    return name in ("farewell", "refused", "reason")


# -- what holds, of live sessions


RULES: Mapping[str, CodeType] = {
    rule: compile(rule, "STATES.md", "eval")
    for row in rows("Never together")
    for rule in code_in(row[0])
}
_OF_SESSION = frozenset(
    {"session", "guest", "output", "encryption", "progress", "lookups", "refusals", "log", "ended"}
)
RULES_OF_WIRE = {rule: code for rule, code in RULES.items() if not _OF_SESSION & {*code.co_names}}
"""Those about nothing but the connection."""


def broken_rules(session: Session) -> list[str]:
    """Return the rules of the page that a session breaks right now."""
    known = _known(session)
    return [rule for rule, code in RULES.items() if eval(code, known)]


def broken_rules_of_wire(wire: PeerConnection) -> list[str]:
    """Return those that a connection breaks, of the rules about nothing else."""
    known = _known_of_wire(wire)
    return [rule for rule, code in RULES_OF_WIRE.items() if eval(code, known)]


def _known_of_wire(wire: PeerConnection) -> dict[str, Any]:
    return {"wire": wire, "queue": wire._requests, "Phase": Phase, "any": any, "__builtins__": {}}


def _known(session: Session) -> dict[str, Any]:
    return _known_of_wire(session.wire) | {
        "session": session,
        "output": session._output,
        "encryption": session._encryption,
        "guest": session.guest,
        "progress": session.guest.progress,
        "lookups": session._output.lookups,
        "refusals": session.guest.refusals,
        "log": session._log,
        "ended": session._scope.cancel_called,
    }


_ANY_RULE = compile(" or ".join(f"({rule})" for rule in RULES), "STATES.md", "eval")


def _breaks_any(session: Session) -> bool:
    """Tell whether there are any; a quarter of the time of `broken_rules`."""
    return bool(eval(_ANY_RULE, _known(session)))


class Watch(trio.abc.Instrument):
    """Holds all sessions of a hub against the rules after each step of each task."""

    def __init__(self, hub: Hub) -> None:
        self.broken: set[str] = set()
        """An instrument that raises is only logged, so this is for the test to look at."""
        self._sessions = hub._registry.sessions

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        for session in self._sessions:
            if _breaks_any(session):
                self.broken.update(broken_rules(session))
