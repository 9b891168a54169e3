"""The nodes of a cluster: what they share through one Redis, and how each goes on without it.

In: the store's address; what this node hears, spends and is; what the other nodes say of theirs.
Out: who the members are, and to the parts of this node what the others have heard and spent.

Door: `cluster.make_cluster` makes the `Cluster` of a node. Below it, `store` is what is asked of
the store, one round trip each, with every key named in `keys`; `link` is one connection to Redis,
the only module that knows coredis, and `redis` keeps two of them up; `faults` says in a line what
is wrong with it, and `health` says it once. `members` has who is there, `clock` the time that all
share, `password` the store's secret, `exchange` the swarms (`telling` tells of ours), `claims` who
counts what.
`mapping` is a map that all nodes have: `register` the passkeys, `bans` and `entries` what was said
at run time.
"""
