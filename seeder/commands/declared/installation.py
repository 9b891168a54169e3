"""`seeder init`, `seeder completion` and `seeder man`."""

from pathlib import Path

import click

from seeder.commands.ending import fail
from seeder.commands.examples import write_examples
from seeder.commands.manual import SHELLS, Shell, completion, manual
from seeder.errors import SeederError


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--systemd", is_flag=True, help="Units, too, which run this very installation.")
@click.option("--container", is_flag=True, help="A Containerfile and a compose.yaml, too.")
@click.option("--kubernetes", is_flag=True, help="A Containerfile and a kubernetes.yaml, too.")
@click.option("--force", is_flag=True, help="Write files anew that are there and differ.")
def init(directory: Path, force: bool, **also: bool) -> None:
    """Write an example configuration, a dashboard and alerts to DIRECTORY.

    What is there stays as it is. What to do next is printed.
    """
    try:
        wanted = {name for name, is_wanted in also.items() if is_wanted}
        write_examples(directory, wanted=wanted, force=force, show=click.echo)
    except SeederError as error:
        fail(error)


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def print_completion(context: click.Context, shell: Shell) -> None:
    """Print a script by which a shell completes commands, options and files.

    For bash, ~/.local/share/bash-completion/completions/seeder is its place; or run
    eval "$(seeder completion bash)".
    """
    click.echo(completion(_all_of(context), shell), nl=False)


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page: seeder man | man -l -"""
    click.echo(manual(_all_of(context)), nl=False)


def _all_of(context: click.Context) -> click.Group:
    """Return the command line that a command belongs to."""
    group = context.find_root().command
    assert isinstance(group, click.Group)
    return group
