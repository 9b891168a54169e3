"""Groups of commands: what is no command of one is told with what was likely meant."""

import difflib
from collections.abc import Mapping, Sequence

import click

_MEANT: Mapping[str, str] = {
    "rehash": "refresh --rehash",
    "list": "ls",
    **dict.fromkeys(("remove", "delete", "del"), "rm"),
    **dict.fromkeys(("start", "serve", "daemon"), "run"),
    **dict.fromkeys(("info", "describe"), "show"),
    "config": "check",
    "block": "ban",
}
"""What other programs call our commands."""
_NEAR = 0.6
"""Names are short: two letters of five may be wrong."""


def check_name(group: click.Group, context: click.Context, name: str) -> None:
    """Check that a group has a command, or that its name is an option; click.UsageError."""
    if name.startswith("-") or context.resilient_parsing:
        return
    if group.get_command(context, name) is None:
        guess = _guess(name, group.list_commands(context))
        context.fail(f"No such command {name!r}{f'; did you mean {guess}?' if guess else '.'}")


class GuessingGroup(click.Group):
    """A group that knows what a misspelt command may have meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; click.UsageError if it is none."""
        check_name(self, ctx, args[0])
        return super().resolve_command(ctx, args)


def _guess(name: str, names: Sequence[str]) -> str | None:
    meant = _MEANT.get(name)
    if meant is not None and meant.split()[0] in names:
        return meant
    found = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR)
    return found[0] if found else None
