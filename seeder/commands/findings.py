"""What `seeder check` finds: lines for people as they come, or all of it for programs."""

import json
from collections.abc import Callable


class Findings:
    """Takes what is found, a line each; as JSON it is told at the end."""

    def __init__(self, show: Callable[[str], None], *, as_json: bool = False) -> None:
        self._show = show
        self._as_json = as_json
        self._found: dict[str, list[str]] = {
            "mistakes": [],
            "faults": [],
            "warnings": [],
            "notes": [],
        }

    def mistake(self, line: str) -> None:
        """Take what keeps a node from running, or the check from its end."""
        self._add("mistakes", line)

    def fault(self, line: str) -> None:
        """Take what can't be published or read."""
        self._add("faults", line)

    def warn(self, line: str) -> None:
        """Take what is legal, and seldom meant."""
        self._add("warnings", line, "warning: ")

    def note(self, line: str) -> None:
        """Take what is as it should be, or just so."""
        self._add("notes", line)

    def _add(self, kind: str, line: str, begin: str = "") -> None:
        self._found[kind].append(line)
        if not self._as_json:
            self._show(f"{begin}{line}")

    def end(self, **about: object) -> None:
        """Tell all of it, with what it is about, if it is for programs."""
        if self._as_json:
            is_ok = not self._found["mistakes"] and not self._found["faults"]
            self._show(json.dumps({"ok": is_ok, **about, **self._found}, indent=2))
