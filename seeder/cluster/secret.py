"""The secret by which all nodes take each other's connection ids of the UDP tracker (BEP 15).

Datagrams to a port that several nodes share come to any of them.
"""

from seeder.cluster.keys import Keys
from seeder.cluster.store import Script, Store, texted

RENEWED = 60.0
"""Seconds between two times that a node asks for it."""
_KEPT = 86_400

# KEYS: the secret. ARGV: ours, to be everybody's if there is none; how long it is kept (s).
_SHARE = Script("""
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1])
""")


async def share_secret(store: Store, keys: Keys, ours: bytes) -> bytes:
    """Return the secret of all nodes, which becomes `ours` if there is none; StoreAway."""
    shared = texted(await store.run(_SHARE, [keys.udp_secret], (ours, _KEPT)))
    # Somebody else may have written anything there.
    return shared if len(shared) == len(ours) else ours
