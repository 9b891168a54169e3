"""Sockets and addresses: what both listeners need, whatever is spoken on them.

In: hosts and ports of the configuration, connections and datagrams of the system. Out: non-blocking
sockets with their addresses, in the packed and compact forms that BitTorrent uses; and, for each
request, whether its address has asked too often, has most of something scarce, or is next.

Door: `sockets.listen` and `sockets.accept`; for UDP `sockets.bind_datagrams`, and `datagrams` for
what comes and goes. `addresses` says what counts as one address, and `buckets` how often it may
ask, `shares` who makes room for whom, `turns` whose turn it is, `notices` of whom the log tells.
`doors` lets in by lists of networks. `slices` has long work make way for other tasks, and `guards`
keep a fault of ours with one of many from ending all.
"""
