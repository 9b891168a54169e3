"""Texts on the command line: in UTF-8, as S3's names and the node's JSON are."""

import os

import click

from seeder.commands.texts import printable


class _Text(click.types.StringParamType):
    """A text; click takes bytes that are none, too, and each use would trip over them later."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text; click.BadParameter."""
        text = str(super().convert(value, param, ctx))
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(text).decode(errors="backslashreplace")
            self.fail(f"'{printable(shown)}' is not UTF-8: want a text in UTF-8", param, ctx)
        return text


def check_texts(command: click.Command) -> click.Command:
    """Have a command, and those below it, refuse texts that are not UTF-8; paths may be."""
    for parameter in command.params:
        if type(parameter.type) is click.types.StringParamType:
            parameter.type = _Text()
    if isinstance(command, click.Group):
        for each in command.commands.values():
            check_texts(each)
    return command
