"""What the command line does beside running the daemon: one module a command.

In flow a configuration and names of objects; out flow lines for stdout, torrents, or the error that
becomes the exit code. `seeder.cli` is the only caller and does the reading of options.

The doors are `check.check_online`, `torrent.find_torrent` and `demo.run`. The first two stand on
the daemon's `foundation`, the last one runs the daemon itself.
"""
