"""Sockets and addresses: what both listeners need, whatever is spoken on them.

In: hosts and ports of the configuration, connections of the system. Out: non-blocking sockets with
their addresses, and the packed and compact forms that BitTorrent wants; for each request the
answer whether its address has asked too often.

Door: `sockets.listen` and `sockets.accept`. `addresses` says what counts as one address, and
`buckets` how often it may ask.
"""
