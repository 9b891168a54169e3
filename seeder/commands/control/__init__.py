"""The verbs that tell a running node what to do, over its control API.

In: names, options, and where the node is (`nodes`). Out: lines and tables for people, or the API's
own JSON. `client` asks; nothing else knows HTTP. What the node says of keys and reasons comes from
outside, and no terminal obeys it.

The doors are `objects` (add, rm, ls, show, refresh, warm) and `operating` (status, reload, bans).
"""
