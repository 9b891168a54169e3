"""An operator at a shell: an object comes, is downloaded, and goes, without a line in the file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import python_environment

BODY = content(8 * MIB, seed=77)
KEY = "set/a b+c%20 ünï:refresh/..;x"


def test_an_object_is_added_downloaded_and_removed_from_a_shell(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, "first", BODY[:MIB])
    settings = {"origin": origin(ceph), "objects": [{"bucket": bucket, "key": "first"}]}
    daemon = seeder(settings)
    daemon.start()

    def run(verb: str, *words: str | Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "seeder.cli", verb, *words, "-c", daemon.path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=python_environment(HOME="/nonexistent"),
        )
        assert (done.returncode, done.stderr if verb != "add" else "") == (0, "")
        return done.stdout.splitlines()

    name = f"s3://{bucket}/{KEY}"
    lines = run("add", name, "--set", "metainfo=['build']", "--wait")
    assert lines[0] == f"{bucket}/{KEY}: serving"
    path = tmp_path / "added.torrent"
    status, torrent = daemon.get(
        lines[1].removeprefix(daemon.announce_url.removesuffix("/announce"))
    )
    assert (status, lines[2][:20]) == (200, "magnet:?xt=urn:btih:")
    path.write_bytes(torrent)
    got = client(Libtorrent).download(path, timeout=60)
    assert digest(got.read_bytes()) == digest(BODY)
    [row] = [line for line in run("ls") if line.endswith("(added)")]
    assert row.split()[0] == "serving"
    assert row.endswith(f"{bucket}/{KEY}  (added)")

    # Over a kill and a restart, and a reload by the verb.
    daemon.kill()
    daemon.start()
    assert any(line.endswith("(added)") for line in run("ls"))
    daemon.configure(settings | {"budget": {"origin_bytes_per_day": "1 TiB"}})
    assert run("reload", "--wait") == ["reloaded: budget.origin_bytes_per_day"]
    assert run("rm", name) == [f"{bucket}/{KEY}: removed"]
    assert [line.split()[-1] for line in run("ls")] == ["OBJECT", f"{bucket}/first"]
