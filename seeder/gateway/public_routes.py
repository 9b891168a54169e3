"""The public listener's handler, put together: tracker, torrents by object, the list of them."""

import logging
import time

import trio

from seeder.config.sections import Config
from seeder.gateway.access import Authorisation, Keyring
from seeder.gateway.clients import TrustedProxies
from seeder.gateway.index import PublicList
from seeder.gateway.index_routes import ListingRoutes
from seeder.gateway.links import gateway_url, web_seed_url
from seeder.gateway.naming import Naming
from seeder.gateway.objects import PublicFace
from seeder.gateway.routes import PublicRoutes
from seeder.gateway.webseed import Open, WebSeed
from seeder.net.buckets import Limiter
from seeder.torrent.catalog import Catalog
from seeder.tracker.swarms import Swarms

_LOG = logging.getLogger(__name__)

REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 50.0, 500.0
"""To the public listener, of one address (IPv6: one /64): room for a large NAT."""


def public_routes(
    config: Config,
    catalog: Catalog,
    swarms: Swarms,
    keyring: Keyring,
    announce: str,
    *,
    open_download: Open,
) -> PublicRoutes:
    """Return the handler; `announce` is the URL that torrents name.

    `open_download` gives what the web seed sends, where there is one.
    """
    before = web_seed_url(config, announce)
    face = PublicFace(catalog, announce, config.peer, config.origins, before)
    web_seed = None
    if before is not None:
        _LOG.info("web seed: torrents name %s/BUCKET/KEY", before)
        web_seed = WebSeed(face.content, open_download)
    return PublicRoutes(
        swarms,
        face,
        Authorisation(face, keyring, time.time),
        naming=Naming(config.gateway.domains),
        listing=_listing(config, catalog, announce) if config.gateway.listing else None,
        web_seed=web_seed,
        proxies=TrustedProxies([str(network) for network in config.tracker.trusted_proxies]),
        limiter=Limiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE),
    )


def _listing(config: Config, catalog: Catalog, announce: str) -> ListingRoutes:
    base = gateway_url(config, announce)
    shown = PublicList(
        *(catalog, announce, base),
        peer=config.peer,
        web_seed=web_seed_url(config, announce),
        clock=trio.current_time,
    )
    return ListingRoutes(shown, url=f"{base}/")
