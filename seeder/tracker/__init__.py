"""The tracker: which peers of which torrent hear of each other, and what they claim.

In: the raw query of an announce or scrape, or a datagram, the address that it came from, the time,
random numbers; and which addresses came to our own seeder. Out: the reply in bytes, or an
AnnounceError that becomes the client's refusal; and, to the `ClaimCounter` of each torrent, the
bytes and completions that peers claim.

Door: `swarms.Swarms` has every swarm (`kept` what is done to all of them), and `announce` is the
wire format on both sides of it, as `datagrams` is for UDP. Below it `swarm` is one torrent's:
`roster` has who is listed, `listed` what is known of each, `neighbours` where it is by network,
`handout` and `crowd` say who hears of whom (`locality` where addresses are in groups), `seeders`
where our own seeder is reached, `visits` who came to it, `claims` what is counted (and `belief` of
whom; `shared` where several nodes hear it, `owed` what one has to tell another), `sessions` for
which client, `past` for how long, `rooms` how many all swarms may list, `saved` the rows that
survive a restart.
All of it is sans-IO: the listener is in `seeder.gateway`.
"""
