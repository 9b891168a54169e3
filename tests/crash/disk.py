"""What is on a disk after a part of a record, as far as POSIX promises, or less.

A change of a file's bytes is sure to last once the file was synced, a change of a name once its
directory was. Of what wasn't synced, anything may have lasted: of the bytes all, none, a part, or
only the length, with zeros in their place; of a directory's names any beginning of what was done to
them. File systems keep more order than that.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from tests.crash.recording import MARKS, Change


@dataclass(slots=True, eq=False)
class File:
    """A file: what is durable of it, and what was done since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes at an offset; None cuts the file off, or lengthens it, there."""

    def content(self, count: int | None = None, *, torn: bool = False) -> bytes:
        """Return the content after the first `count` changes (all), the last one half done."""
        pending = self.pending[:count]
        found = bytearray(self.durable)
        for number, (offset, data) in enumerate(pending, 1):
            half = torn and number == len(pending)
            _change(found, offset, data[: len(data) // 2] if half and data else data)
        return bytes(found)

    def zeroed(self) -> bytes:
        """Return it with its new length and the old bytes: zeros where there were none."""
        whole = self.content()
        return self.durable[: len(whole)].ljust(len(whole), b"\0")


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    stop = offset + len(data or b"")
    if len(content) < stop:
        content.extend(bytes(stop - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset:stop] = data


@dataclass(slots=True, eq=False)
class Directory:
    """A directory: its durable names, and what was done to its names since."""

    durable: dict[str, "Node"] = field(default_factory=dict)
    pending: list[dict[str, "Node | None"]] = field(default_factory=list)

    def names(self, count: int | None = None) -> dict[str, "Node"]:
        """Return the names after the first `count` changes, or after all."""
        found: dict[str, Node | None] = dict(self.durable)
        for change in self.pending[:count]:
            found.update(change)
        return {name: node for name, node in found.items() if node is not None}


Node: TypeAlias = File | Directory
Bytes: TypeAlias = Callable[[File], bytes]
Names: TypeAlias = Callable[[Directory], dict[str, Node]]


class Disk:
    """A directory tree to which recorded changes are applied one by one."""

    def __init__(self) -> None:
        self.root = Directory()
        self.promised: list[str] = []
        """What the scenario has marked so far."""
        self._open: dict[int, Node] = {}
        self._marks: set[int] = set()

    def apply(self, change: Change) -> None:
        """Take in the next change."""
        paths = [PurePosixPath(path) for path in change.paths]
        match change.name:
            case "open":
                self._opened(change, paths[0])
            case "close":
                self._open.pop(change.descriptor, None)
                self._marks.discard(change.descriptor)
            case "write" if change.descriptor in self._marks:
                self.promised += change.data.decode().splitlines()
            case "write" | "truncate":
                file = self._open[change.descriptor]
                assert isinstance(file, File)
                data = change.data if change.name == "write" else None
                file.pending.append((change.offset, data))
            case "sync":
                self._sync(self._open[change.descriptor])
            case "mkdir":
                self._name(paths[0], Directory())
            case "unlink" | "rmdir":
                self._name(paths[0], None)
            case "rename":
                self._rename(*paths)

    def _opened(self, change: Change, path: PurePosixPath) -> None:
        if path.name == MARKS:
            self._marks.add(change.descriptor)
            return
        node = self._find(path)
        if node is None:
            node = File()
            self._name(path, node)
        elif change.flags & os.O_TRUNC and isinstance(node, File):
            node.pending.append((0, None))
        self._open[change.descriptor] = node

    def _find(self, path: PurePosixPath) -> Node | None:
        node: Node | None = self.root
        for part in path.parts:
            node = node.names().get(part) if isinstance(node, Directory) else None
        return node

    def _name(self, path: PurePosixPath, node: Node | None) -> None:
        self._parent(path).pending.append({path.name: node})

    def _parent(self, path: PurePosixPath) -> Directory:
        above = self._find(path.parent)
        assert isinstance(above, Directory)
        return above

    def _rename(self, before: PurePosixPath, after: PurePosixPath) -> None:
        node = self._find(before)
        if before.parent == after.parent:
            self._parent(before).pending.append({before.name: None, after.name: node})
        else:
            self._name(after, node)
            self._name(before, None)

    def _sync(self, node: Node) -> None:
        if isinstance(node, File):
            node.durable = node.content()
        else:
            node.durable = node.names()
        node.pending.clear()

    def leave(self, target: Path, content: Bytes, names: Names) -> None:
        """Write into `target`, a new directory, what a crash leaves that keeps just that much."""
        target.mkdir()
        _leave(self.root, target, content, names)

    def unsure(self) -> Iterable[Node]:
        """Yield whatever isn't durable as it is."""
        return (node for node in _walk(self.root) if node.pending)


def _walk(node: Node) -> Iterable[Node]:
    yield node
    if isinstance(node, Directory):
        seen = {id(each): each for each in node.durable.values()}
        for change in node.pending:
            seen |= {id(each): each for each in change.values() if each is not None}
        for each in seen.values():
            yield from _walk(each)


def _leave(directory: Directory, target: Path, content: Bytes, names: Names) -> None:
    for name, node in names(directory).items():
        path = target / name
        if isinstance(node, Directory):
            path.mkdir()
            _leave(node, path, content, names)
        elif not name.endswith("-shm"):
            # The index of a WAL is made anew by whoever opens it first.
            path.write_bytes(content(node))


CRASHES: dict[str, tuple[Bytes, Names]] = {
    "killed": (lambda file: file.content(), lambda directory: directory.names()),
    "nothing that wasn't synced": (lambda file: file.durable, lambda directory: directory.durable),
    "names without bytes": (lambda file: file.durable, lambda directory: directory.names()),
    "names and lengths": (lambda file: file.zeroed(), lambda directory: directory.names()),
    "bytes without names": (lambda file: file.content(), lambda directory: directory.durable),
    "a torn write": (
        lambda file: file.content(torn=True),
        lambda directory: directory.names(),
    ),
    "all but the last": (
        lambda file: file.content(-1) if file.pending else file.durable,
        lambda directory: directory.names(-1) if directory.pending else directory.durable,
    ),
    "the last bytes alone": (
        lambda file: File(file.durable, file.pending[-1:]).content(),
        lambda directory: directory.names(),
    ),
}
"""Crashes by what they leave of what wasn't synced."""
