"""An async BitTorrent seeder and tracker bridge for S3."""

__version__ = "0.1.0"
