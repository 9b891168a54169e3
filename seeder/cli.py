"""The command line. Results go to stdout, logs and complaints to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import signal
from collections.abc import Mapping
from importlib import import_module

import click

from seeder import __version__

_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "To begin": {"init": "installation", "check": "node", "run": "node", "demo": "trial"},
    "What a running node publishes": dict.fromkeys(
        ("add", "set", "rm", "ls", "show", "refresh", "warm"), "objects"
    ),
    "A running node": {
        **dict.fromkeys(("status", "reload"), "operating"),
        "health": "health",
        **dict.fromkeys(("ban", "unban", "bans"), "operating"),
    },
    "Torrents": {
        **dict.fromkeys(("torrent", "magnet"), "torrents"),
        "keys": "passkeys",
        "diagnose": "trial",
    },
    "Figures": dict.fromkeys(("report", "estimate"), "figures"),
    "Your shell": dict.fromkeys(("completion", "man"), "installation"),
}
"""As --help shows them: by name, the module of `seeder.commands.declared` that has a command."""
_COMMANDS: Mapping[str, str] = {
    name: module for section in _SECTIONS.values() for name, module in section.items()
}
_LONGEST = 200
"""Characters of what --help says of a command: a line or two."""


class _Commands(click.Group):
    """The commands by name; what one needs is imported when it is meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all, in their order."""
        return sorted(_COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; click.UsageError if it is none."""
        from seeder.commands.groups import check_name  # noqa: PLC0415  (as above)

        check_name(self, ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all of them, by what one is about to do."""
        width = max(map(len, _COMMANDS))
        for title, section in _SECTIONS.items():
            with formatter.section(title):
                # As wide as the widest of all, so that the sections are one table.
                rows = [(name.ljust(width), self._said(ctx, name)) for name in section]
                formatter.write_dl(rows)

    def _said(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        assert command is not None
        return command.get_short_help_str(_LONGEST)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name == "run":
            # It would end us while we import for a second, and systemd take that for an end in good
            # order; the file is read after that. No SIG_IGN: programs that we start would have it.
            signal.signal(signal.SIGHUP, lambda *_: None)
        # Like the commands: --version and a shell that completes need none of it.
        from seeder.commands.arguments import check_texts  # noqa: PLC0415

        module = import_module(f"seeder.commands.declared.{_COMMANDS[cmd_name]}")
        for command in vars(module).values():
            if isinstance(command, click.Command) and command.name == cmd_name:
                return check_texts(command)
        raise AssertionError(f"{module.__name__} has no {cmd_name}")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="seeder")
def main() -> None:
    """Publish large S3 objects by BitTorrent."""


if __name__ == "__main__":
    main()
