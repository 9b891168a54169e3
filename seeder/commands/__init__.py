"""What the command line does beside running the daemon: one module per command.

In: a configuration, and names of objects. Out: lines for stdout, torrents, or the error that
becomes the exit code. `declared` has the commands with their options, and calls all else;
`seeder.cli` imports it by parts.

The doors are `check.check_online` (`check_config` asks nobody), `torrent.find_torrent` and
`demo.run`. `options` and `which` have the options that several commands share, `loading` the
configurations that they are about, `ending` how they end. The first two stand on the daemon's
`foundation`, the last one runs the daemon itself. What `report` tells is shown by `report_table`,
by group and by name by `report_sums`, and for finance by `bill_text` and `bill_page` (with
`charts`). `control` tells a running node what to do, and is a room of its own. `groups`
guesses at misspelt commands. `examples` writes what an installation brings; `manual` makes manual
page and completions of the command line itself.
"""
