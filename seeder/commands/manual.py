"""The manual page and the shells' completions, made of what the command line says of itself."""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import click
from click.shell_completion import get_completion_class

from seeder import __version__

Shell: TypeAlias = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish")
_NAME = "seeder"

_ENVIRONMENT = (
    ("SEEDER_SECTION__KEY", "A key of the configuration, over the file's; a text stands as it is,"
     " all else as in the file. SEEDER_OBJECTS__0__KEY is the key of the first object."),
    ("SEEDER_CONFIG, SEEDER_INSTANCE", "What -c and --instance say otherwise."),
    ("COLUMNS", "How wide tables are on a terminal."),
    ("STATE_DIRECTORY, CACHE_DIRECTORY", "Where state and cache are kept if the configuration"
     " doesn't say; systemd sets them."),
    ("AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE and so on", "Credentials come from the AWS chain."),
)  # fmt: skip
_EXIT = (
    ("0", "Done."),
    ("1", "Failed."),
    ("2", "Wrong usage, or a mistake in the configuration."),
    ("130", "Interrupted; what a running node was asked for goes on."),
)
_SIGNALS = (
    ("SIGHUP", "Reads the configuration again; one with mistakes changes nothing."),
    ("SIGTERM, SIGINT", "Ends the daemon in order."),
)
_FILES = (
    ("/etc/seeder/seeder.toml", "What the units run by; verbs for a running node look there for its"
     " socket where no file is named."),
    ("control.sock", "In the state directory (/var/lib/seeder, ~/.local/state/seeder): where verbs"
     " and the API meet the running node, unless admin.socket says where else."),
)  # fmt: skip


# Click's own take a name's characters for the shell's (bash), and cut it at a comma (fish).
_BASH = r"""_seeder_completion() {
    local IFS=$'\n' type value word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        plain)
            # The shell is to obey nothing of a name, nor to take it for two words.
            case $word in
            \"*) value=$(sed 's/[\\"$`]/\\&/g' <<< "$value") ;;
            \'*) value=${value//\'/\'\\\'\'} ;;
            *)
                printf -v value %q "$value"
                value=${value//:/\\:}
                value=${value//=/\\=}
                ;;
            esac
            COMPREPLY+=("$value")
            ;;
        esac
    done < <(
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _SEEDER_COMPLETE=bash_complete "$1"
    )
    return 0
}
complete -o nosort -F _seeder_completion seeder
"""
_FISH = """\
function _seeder_completion
    set -lx _SEEDER_COMPLETE fish_complete
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    for completion in (seeder)
        set -l metadata (string split --max 1 , -- $completion)
        switch $metadata[1]
            case dir
                __fish_complete_directories $metadata[2]
            case file
                __fish_complete_path $metadata[2]
            case plain
                echo $metadata[2]
        end
    end
end
complete --no-files --command seeder --arguments "(_seeder_completion)"
"""
_OURS = {"bash": _BASH, "fish": _FISH}


def completion(main: click.Group, shell: Shell) -> str:
    """Return the script that makes a shell complete our commands, options and files."""
    if shell in _OURS:
        return _OURS[shell]
    kind = get_completion_class(shell)
    assert kind is not None
    # Its source() would run bash, to see how old it is.
    made = kind(main, {}, _NAME, f"_{_NAME.upper()}_COMPLETE")
    return made.source_template % made.source_vars()


def manual(main: click.Group) -> str:
    """Return the manual page, as troff's man macros have it (man(7))."""
    return "\n".join(_page(main)) + "\n"


def _page(main: click.Group) -> Iterator[str]:
    context = click.Context(main, info_name=_NAME)
    summary = (main.help or "").strip().rstrip(".")
    yield f'.TH {_NAME.upper()} 1 "" "{_NAME} {__version__}" "User Commands"'
    yield ".SH NAME"
    yield rf"{_NAME} \- {_text(summary[:1].lower() + summary[1:])}"
    yield ".SH SYNOPSIS"
    yield rf"\fB{_NAME}\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]"
    yield ".SH OPTIONS"
    yield from _options(main, context)
    yield from _entry("-h, --help", "Show the options, of a command behind it, and exit.")
    yield ".SH COMMANDS"
    yield from _commands(main, context)
    for heading, entries in (
        ("ENVIRONMENT", _ENVIRONMENT),
        ("FILES", _FILES),
        ("EXIT STATUS", _EXIT),
        ("SIGNALS", _SIGNALS),
    ):
        yield f".SH {heading}"
        for term, said in entries:
            yield from _entry(term, said)


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield the commands of a group, and those of groups in it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
            continue
        path = inner.command_path.removeprefix(f"{_NAME} ")
        usage = [rf"\fI{_text(each)}\fR" for each in command.collect_usage_pieces(inner)]
        heading = " ".join((rf"\fB{_text(path)}\fR", *usage))
        yield f'.SS "{heading}"'
        for number, paragraph in enumerate(re.split(r"\n\s*\n", command.help or "")):
            if number:
                yield ".PP"
            yield _text(" ".join(paragraph.split()))
        yield from _options(command, inner)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in command.params:
        record = option.get_help_record(context)
        if record is not None and isinstance(option, click.Option):
            yield from _entry(*record)


def _entry(term: str, said: str) -> Iterator[str]:
    yield ".TP"
    yield rf"\fB{_text(term)}\fR"
    yield _text(" ".join(said.split()))


def _text(text: str) -> str:
    """Return a text that troff takes as it is, in a line or as an argument in quotes."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return rf"\&{escaped}" if escaped[:1] in (".", "'") else escaped
