"""The service under a real systemd: what it promises there, with a real S3 server."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.booted import Booted
from tests.e2e.ceph import CephRGW
from tests.e2e.publishing import wait_for_state
from tests.e2e.unit import SERVICE, Unit
from tests.support.handbook import page
from tests.support.objects import digest
from tests.support.processes import poll_until, python_environment
from tests.support.wheel import ROOT

AT_ONCE = "[Service]\nRestartSec=100ms\n"


def test_systemctl_start_returns_when_it_is_ready_and_status_tells_how_it_does(unit: Unit) -> None:
    unit.start()
    assert unit.get("/readyz", admin=True) == (200, b"ready\n")
    wait_for_state(unit, unit.bucket, "stays")
    unit.machine.wait_for(
        SERVICE,
        lambda: unit.show("StatusText").startswith("1 of 1 object served; 0 peers; "),
        what="status of one object",
    )


def test_the_sandbox_is_in_force(unit: Unit) -> None:
    unit.machine.write("/home/somebody/secret", "mine\n", mode=0o644)
    unit.serve()
    pid = unit.pid
    status = unit.machine.run(f"cat /proc/{pid}/status").stdout
    facts = dict(re.findall(r"(?m)^(\w+):\t(.*)$", status))
    # A dynamic user's (systemd.exec(5)), and without any way to become another one.
    assert all(61184 <= int(uid) <= 65519 for uid in facts["Uid"].split())
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}

    def within(command: str) -> "subprocess.CompletedProcess[str]":
        return unit.machine.run(f"nsenter --target {pid} --mount -- {command}", check=False)

    assert within("cat /etc/seeder/seeder.toml").returncode == 0
    assert "No such file" in within("cat /home/somebody/secret").stderr
    for place in ("/usr/probe", "/etc/seeder/probe", "/var/lib/probe", "/opt/seeder/probe"):
        assert "Read-only file system" in within(f"touch {place}").stderr, place
    assert within("touch /var/lib/seeder/probe").returncode == 0
    rated = unit.machine.run(f"systemd-analyze security {SERVICE}", check=False).stdout
    [exposure] = re.findall(r"Overall exposure level for seeder\.service: (\d+\.\d+) ", rated)
    assert f"`systemd-analyze security seeder` rates it {exposure} " in page("service")


def test_a_loop_that_stands_still_is_killed_and_started_again(unit: Unit) -> None:
    unit.drop_in(SERVICE, f"{AT_ONCE}WatchdogSec=2\n", name="watchdog")
    unit.serve()
    before = unit.pid
    unit.machine.run(f"kill -STOP {before}")
    unit.wait_for({"NRestarts": "1", "ActiveState": "active"})
    assert unit.pid != before
    assert "Watchdog timeout (limit 2s)!" in unit.log
    wait_for_state(unit, unit.bucket, "stays")


def test_a_good_file_is_taken_up_by_systemctl_reload_and_a_wrong_one_changes_nothing(
    unit: Unit, ceph: CephRGW
) -> None:
    unit.serve()
    before = unit.pid
    ceph.publisher().put(unit.bucket, "comes", b"body")
    objects = [{"bucket": unit.bucket, "key": key} for key in ("stays", "comes")]
    unit.add(objects=objects)
    unit.systemctl("reload", SERVICE)
    wait_for_state(unit, unit.bucket, "comes")
    # Root finds it without options; nobody else gets in.
    status = "/opt/seeder/.venv/bin/seeder status"
    lines = unit.machine.run(status).stdout.splitlines()
    assert any(re.fullmatch("reload   ok .*", line) for line in lines)
    barred = unit.machine.run(f"setpriv --reuid 65534 --clear-groups {status}", check=False)
    assert barred.returncode == 1
    assert "/var/lib/seeder/control.sock: no permission: ask as root" in barred.stderr
    unit.path.write_text(unit.path.read_text() + "[surprise]\n")
    refused = unit.systemctl("reload", SERVICE, check=False)
    assert refused.returncode == 1
    assert "Job for seeder.service failed" in refused.stderr
    assert "surprise: unknown" in unit.systemctl("status", SERVICE, check=False).stdout
    assert unit.show("ActiveState") == "active"
    assert unit.pid == before
    assert unit.torrent_status(unit.bucket, "comes")["state"] == "serving"


def test_a_reload_that_goes_on_is_waited_for_longer_than_the_unit_says(unit: Unit) -> None:
    unit.serve()
    slow = "ExecReload=\nExecReload=/bin/sh -c 'kill -HUP $MAINPID; sleep 6'\n"
    unit.drop_in(SERVICE, f"[Service]\nTimeoutStartSec=3\n{slow}", name="slow-reload")
    unit.systemctl("reload", SERVICE)
    assert "reload operation timed out" not in unit.log
    assert (unit.show("ActiveState"), unit.show("TimeoutStartUSec")) == ("active", "3s")


def test_after_kill_9_it_is_back_with_its_cache_and_its_figures(unit: Unit) -> None:
    unit.drop_in(SERVICE, AT_ONCE, name="restart")
    unit.serve()
    page = f"/{unit.bucket}/stays"
    code, body = unit.get(page)
    assert (code, digest(body)) == (200, digest(unit.body))
    # By the units' file it finds their directories.
    program = "/opt/seeder/.venv/bin/seeder report -c /etc/seeder/seeder.toml --json"
    counted = unit.status()["totals"]
    wanted = {f'"{name}": {counted[name]}' for name in ("origin_bytes", "uploaded_bytes")}

    def written() -> bool:
        told = unit.machine.run(program, check=False).stdout
        return all(each in told for each in wanted)

    unit.machine.wait_for(SERVICE, written, what="ledger on disk")
    unit.machine.run(f"kill -KILL {unit.pid}")
    unit.wait_for({"NRestarts": "1", "ActiveState": "active"})
    wait_for_state(unit, unit.bucket, "stays")
    code, body = unit.get(page)
    assert (code, digest(body)) == (200, digest(unit.body))
    again = unit.status()["totals"]
    assert again["uploaded_bytes"] >= counted["uploaded_bytes"] + len(body)
    # Not a byte of the object was read anew.
    assert again["origin_bytes"] < counted["origin_bytes"] + 100_000


def test_it_stops_within_its_time_and_well(unit: Unit) -> None:
    unit.serve()
    begun = time.monotonic()
    unit.systemctl("stop", SERVICE)
    assert time.monotonic() - begun < 15
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("success", "0")


# -- what isn't there yet -------------------------------------------------------------------------


def test_a_port_that_is_busy_is_tried_until_it_is_free(unit: Unit) -> None:
    unit.drop_in(SERVICE, f"{AT_ONCE}[Unit]\nStartLimitIntervalSec=0\n", name="restart")
    with socket.create_server((unit.address, unit.peer_port)):
        assert "failed" in unit.systemctl("start", SERVICE, check=False).stderr
        unit.machine.wait_for(SERVICE, lambda: int(unit.show("NRestarts")) >= 2, what="restart")
    unit.wait_for({"ActiveState": "active"})
    assert "Main process exited, code=exited, status=1/FAILURE" in unit.log
    said = [line for line in unit.log.splitlines() if "can't listen" in line]
    assert len(said) == unit.log.count("Failed with result 'exit-code'")
    assert "peer.listen: can't listen on" in said[0]
    assert "another program (or another seeder) uses it" in said[0]


def test_a_network_that_comes_later_than_the_service_is_waited_for(unit: Unit) -> None:
    unit.drop_in(SERVICE, f"{AT_ONCE}[Unit]\nStartLimitIntervalSec=0\n", name="restart")
    unit.move_to("10.9.7.7")
    try:
        unit.systemctl("start", SERVICE, check=False)
        unit.machine.wait_for(SERVICE, lambda: int(unit.show("NRestarts")) >= 2, what="restart")
        assert "this machine doesn't have that address, or not yet" in unit.log
        unit.machine.run("ip addr add 10.9.7.7/32 dev lo")
        unit.wait_for({"ActiveState": "active"})
        assert unit.get("/readyz", admin=True) == (200, b"ready\n")
    finally:
        unit.machine.run("ip addr del 10.9.7.7/32 dev lo", check=False)


def test_a_credential_that_is_not_there_yet_is_waited_for(unit: Unit) -> None:
    unit.drop_in(SERVICE, f"{AT_ONCE}[Unit]\nStartLimitIntervalSec=0\n", name="restart")
    secret = unit.machine.path("/etc/seeder/aws.secret")
    away = secret.rename(secret.with_suffix(".away"))
    assert "failed" in unit.systemctl("start", SERVICE, check=False).stderr
    unit.machine.wait_for(SERVICE, lambda: int(unit.show("NRestarts")) >= 1, what="restart")
    away.rename(secret)
    unit.wait_for({"ActiveState": "active"})


def test_a_wrong_file_is_not_tried_again(unit: Unit) -> None:
    unit.drop_in(SERVICE, AT_ONCE, name="restart")
    unit.path.write_text(unit.path.read_text() + "[surprise]\n")
    assert "failed" in unit.systemctl("start", SERVICE, check=False).stderr
    assert (unit.show("ActiveState"), unit.show("NRestarts")) == ("failed", "0")
    assert "surprise: unknown" in unit.systemctl("status", SERVICE, check=False).stdout


def test_a_socket_with_clients_does_not_start_a_service_with_a_wrong_file_for_ever(
    unit: Unit,
) -> None:
    listen = f"[Socket]\nListenStream=\nListenStream={unit.address}:{unit.admin_port}\n"
    unit.drop_in("seeder-admin.socket", listen)
    unit.drop_in(SERVICE, "[Unit]\nStartLimitBurst=3\n", name="sooner")
    unit.systemctl("start", "seeder-admin.socket")
    unit.path.write_text(unit.path.read_text() + "[surprise]\n")
    with socket.create_connection((unit.address, unit.admin_port)):
        unit.machine.wait_for(
            SERVICE,
            lambda: unit.machine.show("seeder-admin.socket", "ActiveState") == "failed",
            what="end of the socket",
        )
    assert unit.log.count("status=2/INVALIDARGUMENT") == 3


@pytest.mark.parametrize("name", ["seeder.service", "seeder@.service"])
def test_a_boot_without_network_does_not_run_into_the_start_limit(name: str) -> None:
    text = (ROOT / "systemd" / name).read_text()
    numbers = {
        key: float(value)
        for key, value in re.findall(r"(?m)^(RestartSec|StartLimit\w+)=(\d+)$", text)
    }
    # At that pace there are fewer starts in the interval than make the limit.
    starts = numbers["StartLimitIntervalSec"] / numbers["RestartSec"] + 1
    assert starts < numbers["StartLimitBurst"]


# -- the machine itself ---------------------------------------------------------------------------


def test_tests_that_are_killed_leave_no_machine(unit: Unit, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom tests.e2e.booted import Booted\nmachine = Booted()\n"
        "print(machine.pid, flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=python_environment(PYTHONPATH=str(ROOT), TMPDIR=str(tmp_path)),
    ) as tests:
        assert tests.stdout is not None
        systemd = int(tests.stdout.readline())
        [cgroup] = Path("/sys/fs/cgroup").rglob(f"seeder-tests-*-{tests.pid}")
        tests.kill()
    poll_until(lambda: not Path(f"/proc/{systemd}").exists(), timeout=30, what="end of the machine")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    [home] = tmp_path.glob("seeder-tests-*[!.log]")
    assert list(home.iterdir()) == []
    with Booted():
        assert not cgroup.exists()
    assert unit.machine.run("systemctl is-system-running").stdout == "running\n"


# -- from the documents ---------------------------------------------------------------------------


def test_what_seeder_init_prints_leads_to_a_running_service(unit: Unit) -> None:
    machine = unit.machine
    settings = unit.path.read_text()
    machine.run(
        "rm /etc/seeder/seeder.toml; find /etc/systemd/system -type f -name 'seeder*' -delete"
    )
    told = machine.run("/opt/seeder/.venv/bin/seeder init /etc/seeder --systemd").stdout
    assert "warning" not in told
    unit.path.write_text(settings)
    for command in re.findall(r"(?m)^  (.*)$", told):
        if not command.startswith("systemctl edit "):  # which opens an editor
            machine.run(command)
    assert unit.show("ActiveState") == "active"
    assert unit.show("UnitFileState") == "enabled"
    wait_for_state(unit, unit.bucket, "stays")
    # They are the units of before: this installation is where they expect it.
    for path in (ROOT / "systemd").iterdir():
        assert machine.path(f"/etc/systemd/system/{path.name}").read_text() == path.read_text()
