"""The admin listener's pages: how everything stands, for the person who runs the seeder.

In flow the statistics of every part, in the order of the layers below; out flow /status.json,
/metrics, /healthz, /readyz, the status page in static/, and the line of `systemctl status`.

The door is `overview.Overview`, which puts the documents together; `routes` answers HTTP with them.
"""
