"""A soak: a daemon before a real S3 server, with all that may happen to it, for as long as told.

    python -m tests.soak --minutes 30

Ceph RGW is the S3 server. Between it and the daemon lies a wire (`wire.py`) that breaks in every
way, and counts what it passes on: that is S3's log. Clients come and go (`clients.py`): raw peers,
libtorrent, downloads over HTTP, announces; attackers flood (`floods.py`); objects are replaced,
deleted and put back, the configuration is reloaded (`changes.py`). Meanwhile the daemon's memory,
descriptors and answers are sampled (`samples.py`), and at the end everything is held against
bounds (`verdict.py`). The exit code is 1 if one of them is broken.
"""
