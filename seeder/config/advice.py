"""What is no mistake in a configuration, and yet is seldom meant."""

from collections.abc import Iterator, Sequence

from seeder.config.sections import Config
from seeder.net.addresses import PRIVATE_NETWORKS, HostPort, IPNetwork, ip_version, parse_ip


def advise(config: Config) -> Iterator[str]:
    """Yield a line for each, which begins with the key and says what to write instead."""
    for network in config.tracker.trusted_proxies:
        if _may_hold_clients(network):
            yield (
                f"tracker.trusted_proxies: {network} is a whole private network: whoever is in it"
                " can put any address into the swarms; list the proxies themselves"
            )
    for section in ("tracker", "peer", "gateway"):
        rules = getattr(config, section).rules
        for place, network in rules.hidden():
            yield (
                f"{section}.allow[{place}]: {network} lies in {section}.deny, which goes first:"
                " nobody of it is let in"
            )
    yield from _missing_families(config)
    yield from _bare_token(config)


def _bare_token(config: Config) -> Iterator[str]:
    """Yield a line where the token of the control API crosses a network that may be listened on."""
    admin = config.admin
    key = "token_file" if admin.token_file is not None else "token_credential"
    if getattr(admin, key) is None:
        return
    for address in admin.listen:
        if not _is_loopback(address.host):
            yield (
                f"admin.{key}: at {address} the token crosses the network without TLS; let"
                " admin.listen be on 127.0.0.1, behind a proxy that speaks TLS"
            )


def _is_loopback(host: str) -> bool:
    try:
        return parse_ip(host).is_loopback
    except ValueError:
        return host == "localhost"


def _missing_families(config: Config) -> Iterator[str]:
    peer = config.peer
    for v6, name, anywhere in ((False, "IPv4", "0.0.0.0"), (True, "IPv6", "[::]")):
        here, there = _listens(peer.listen, v6), _listens(config.tracker.listen, v6)
        if there and not here:
            yield (
                f"peer.listen: has no {name} address though tracker.listen has: clients that have"
                f' {name} alone hear of a seeder that they can\'t reach; add "{anywhere}:6881"'
            )
        elif here and peer.public_address and not _listens(peer.public_address, v6):
            yield (
                f"peer.public_address: has no {name} address though peer.listen has: clients are"
                f" told the {name} address at which they reach the tracker, and behind a proxy"
                " none; add one to make a list, or a name that has both"
            )


def _listens(addresses: Sequence[HostPort], v6: bool) -> bool:
    """Tell whether addresses may be of a family; names may be of both."""
    return any(ip_version(each.host) in (6 if v6 else 4, None) for each in addresses)


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
