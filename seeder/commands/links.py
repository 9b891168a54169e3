"""Torrents and magnet links by a configuration, beside a daemon or without one."""

from seeder.config.sections import Config
from seeder.gateway.certificates import certificate_names
from seeder.gateway.links import Links, announce_url


def links_of(config: Config) -> Links:
    """Return what makes torrents and magnet links by a configuration; ConfigError."""
    tracker = config.tracker
    udp_port = tracker.udp_listen[0].port if tracker.udp_listen else 0
    announce = announce_url(config, tracker.main_listen[0].port, certificate_names(tracker))
    return Links.of(config, announce, udp_port=udp_port)
