"""The tests of npm's bittorrent-tracker 9.0.0, as its package has them, against our tracker.

Their code stays in the package: tests/run.py has npm fetch it, and npm_tracker/shim.cjs stands for
their server. In each reply one seed is taken off, our own seeder, which their tracker hasn't.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.processes import clean_environment

ROOT = Path(__file__).parents[2]
# Node goes by real paths, also where this is a link.
INSTALLED = (ROOT / ".npm-tracker").resolve() / "node_modules"
SHIM = Path(__file__).parent / "npm_tracker" / "shim.cjs"
FILES = [
    "client.js",
    "client-large-torrent.js",
    "client-magnet.js",
    "destroy.js",
    "filter.js",
    "querystring.js",
    "scrape.js",
    "server.js",
    "evict.js",
]
"""All but stats.js (pages of their own invention: ours are on the admin listener) and
client-ws-socket-pool.js (a client's WebSockets)."""
LEFT_OUT = {
    "server: all info_hash scrape (manual http request)": "BEP 48 leaves it open, and whoever reads"
    " it has all torrents: ours refuses",
    "evict: ipv4 server": "their third client of one address pushes out the first: ours lets nobody"
    " push out others by coming again and again, who has most makes room",
    "evict: http ipv6 server": "likewise",
    "evict: udp server": "likewise",
    "http: scrape using Client.scrape static method (invalid url)": "asks the internet for a name",
    "udp: scrape using Client.scrape static method (invalid url)": "asks the internet for a name",
}
WEB_SOCKETS = re.compile(r"""^test\('((?:ws|evict: ws).*)', function""", re.MULTILINE)
"""Cases of a WebSocket tracker: ours speaks HTTP and UDP."""
CASE = re.compile(r"^# (?!LEFT OUT|tests |pass |fail |ok$)(.*)$", re.MULTILINE)

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not INSTALLED.is_dir(),
    reason="bittorrent-tracker 9.0.0 is not installed: tests/run.py does it where node and npm are",
)


@pytest.mark.timeout(180)
def test_their_cases_pass_against_ours() -> None:
    tests = [(INSTALLED / "bittorrent-tracker" / "test" / name).read_text() for name in FILES]
    left_out = [*LEFT_OUT, *(name for text in tests for name in WEB_SOCKETS.findall(text))]
    result = subprocess.run(
        ["node", "-r", SHIM, "-e", "0", "--", *FILES],
        env={
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "INSTALLED": str(INSTALLED),
            "LEFT_OUT": json.dumps(left_out),
            "TRACKER_NODE": json.dumps([sys.executable, "-m", "tests.support.tracker_node"]),
        },
        stdout=subprocess.PIPE,
        text=True,
        timeout=150,
        check=False,
    )
    print(result.stdout)
    assert result.returncode == 0
    # No case got lost: each is passed, or left out for a reason.
    cases = CASE.findall(result.stdout)
    assert Counter(name.split()[0].rstrip(":") for name in cases) == {
        "http": 19,
        "udp": 15,
        "server": 1,
        "encode": 1,
    }
    assert not re.search(r"^not ok", result.stdout, re.MULTILINE)
    gone = re.findall(r"^# LEFT OUT (.*)$", result.stdout, re.MULTILINE)
    assert sorted(gone) == sorted(left_out)
