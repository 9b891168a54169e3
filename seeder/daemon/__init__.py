"""The running daemon: what it is made of, in which order it starts, and how it stops.

In: the configuration, signals (SIGHUP reloads), and sockets passed by systemd. Out: a `Node` that
serves, and what the service manager and the journal are told.

The door is `run.serve`. It uses `listeners`, `foundation` (ledger, S3, cache, metainfo) and
`opening`, which builds on those everything that serves, a `node`. `audience` tells the parts when a
torrent comes or goes, `restraint` has them hold back as the budget is spent, `reload` changes them
while they run, and `swarm_file` saves the swarms every minute.
"""
