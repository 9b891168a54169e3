"""What the command line has: each command with its arguments, options and help, and nothing else.

In: words of the shell. Out: a call of the room that does it (`seeder.commands`), or wrong usage.
`seeder.cli` names the commands, and imports a module here only when one of its commands is meant.
"""
