"""The command line. Results go to stdout, logs and complaints to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import signal
from collections.abc import Mapping
from importlib import import_module

import click

from seeder import __version__

_COMMANDS: Mapping[str, str] = {
    "run": "node",
    "health": "health",
    "check": "node",
    **dict.fromkeys(("add", "set", "rm", "ls", "show", "refresh", "warm"), "objects"),
    **dict.fromkeys(("status", "reload", "ban", "unban", "bans"), "operating"),
    "report": "figures",
    "estimate": "figures",
    "torrent": "torrents",
    "magnet": "torrents",
    "keys": "passkeys",
    "diagnose": "trial",
    "demo": "trial",
    "init": "installation",
    "completion": "installation",
    "man": "installation",
}
"""By name, the module of `seeder.commands.declared` that has it."""


class _Commands(click.Group):
    """The commands by name; what one needs is imported when it is meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all, in their order."""
        return sorted(_COMMANDS)

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
