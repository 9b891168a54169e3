"""An async BitTorrent seeder and tracker bridge for S3.

The rooms from the ground up, each importing only from those on the lines before it:

errors, units                what goes wrong, and whose fault it is; sizes, times, money
torrent, net, files          what a torrent is; sockets and addresses; files that survive a crash
config, cache, tracker, http   the TOML file; verified pieces kept; swarms; an HTTP/1.1 server
ledger, s3                   what is counted and saved; what we ask of S3
metainfo, upload             from an object to a true info dictionary; who gets how much, and when
peer, publish, gateway       BitTorrent on a socket; objects kept published; the public listener
admin, daemon, commands, cli   the status page; the nursery tree; the command line
"""

__version__ = "0.1.0"
