"""The admin listener's pages: how everything stands, for the person who runs the seeder.

In: the statistics of every part, the ledger, and the publications. Out: /status.json, /metrics,
/healthz, /readyz, the status page in static/ and its stream of events, and the line of `systemctl
status`.

The door is `overview.Overview`, which puts the documents together; `cockpit.Cockpit` makes what a
status page shows, and `routes` answers HTTP with them.
"""
