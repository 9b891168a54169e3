"""What is no mistake in a configuration, and yet is seldom meant."""

from collections.abc import Iterator

from seeder.config.sections import Config
from seeder.net.addresses import PRIVATE_NETWORKS, IPNetwork


def advise(config: Config) -> Iterator[str]:
    """Yield a line for each, which begins with the key and says what to write instead."""
    for network in config.tracker.trusted_proxies:
        if _may_hold_clients(network):
            yield (
                f"tracker.trusted_proxies: {network} is a whole private network: whoever is in it"
                " can put any address into the swarms; list the proxies themselves"
            )


def _may_hold_clients(network: IPNetwork) -> bool:
    """Tell whether a network of proxies has room for others, on a private network of ours.

    What belongs to a large proxy service are public networks, and this machine is no network.
    """
    if network.num_addresses == 1 or network.is_loopback:
        return False
    return any(
        network.version == private.version and network.overlaps(private)
        for private in PRIVATE_NETWORKS
    )
