"""BitTorrent on a socket: the peers that come to us, and what each is sent.

In: accepted connections, torrents by info hash, pieces from the feeds of `seeder.upload`. Out:
handshakes, blocks and the few other messages of a seeder that dials nobody; bytes uploaded and
delivered, to the ledger's accounts; a reason for each connection that ends.

Door: `hub.Hub` listens and gives each connection a `session.Session`, which `registry` keeps; the
peer at its end is a `guest.PeerGuest`, by that name to the uploads, too. A session reads bytes
(`input`) through `encryption` (and `mse`; `exchanges` says whose key is answered next) into
`connection`, the protocol without I/O (`messages`, `requests`, `extensions`, `protocol`); its
`output` (with `batch`) sends answers and blocks. `progress`, `refusals`, `lifetime`, `log`,
`hashes` and `pex` each keep one more concern of a session. Which states a session has, and what
changes them: seeder/peer/STATES.md.
"""
