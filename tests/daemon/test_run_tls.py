"""A node with a certificate: what it serves by TLS, what torrents name, and how it is renewed."""

import logging
import re
import ssl
import time
from pathlib import Path

import httpx
import libtorrent as lt
import pytest
import trio

from seeder.config.load import load
from seeder.config.public import TrackerSettings
from seeder.config.sections import Config
from seeder.daemon.reload import reload
from seeder.errors import ConfigError
from seeder.gateway import certificates
from tests.daemon.support import BODY, LOOPBACK, served, serving, until
from tests.support.certificates import Authority
from tests.support.ports import free_port


class Lab:
    """A node's certificate, and how clients ask it."""

    def __init__(self, directory: Path, file: Path) -> None:
        self.authority = Authority()
        self.directory = directory
        self.file = file
        self.certificate, self.key = self.renew("localhost", LOOPBACK)
        self.trust = ssl.create_default_context(cadata=self.authority.pem.decode())
        self.write("")

    def write(self, more: str) -> Config:
        """Write the paths and further lines into [tracker]; return the configuration."""
        text = re.sub(r"^tls_.*\n", "", self.file.read_text(), flags=re.MULTILINE)
        keys = f'tls_certificate = "{self.certificate}"\ntls_key = "{self.key}"\n{more}'
        text, count = re.subn(r'^(\["?tracker"?\]\n)', rf"\g<1>{keys}", text, flags=re.MULTILINE)
        assert count == 1
        self.file.write_text(text)
        return load(self.file)

    def renew(self, *names: str, days: tuple[float, float] = (-1, 89)) -> tuple[Path, Path]:
        return self.authority.write_pair(self.directory, names, days=days)

    async def get(self, port: int, target: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, verify=self.trust) as client:
            return await client.get(f"https://{LOOPBACK}:{port}{target}")


@pytest.fixture
def lab(tmp_path: Path, file: Path) -> Lab:
    return Lab(tmp_path, file)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY", 0.05)


async def announce_url_of(lab: Lab, port: int) -> tuple[str, list[str]]:
    """Return the announce URL and the web seeds of the object's torrent."""
    answer = await lab.get(port, "/quotes/Nelson?torrent")
    torrent = lt.load_torrent_buffer(answer.content)
    return torrent.trackers[0], torrent.url_seeds


async def test_everything_public_is_served_by_tls_alone(lab: Lab) -> None:
    lab.file.write_text(lab.file.read_text() + "\n[gateway]\nweb_seed = true\nlisting = true\n")
    config = load(lab.file)
    port = config.tracker.listen[0].port
    async with serving(config) as node:
        await until(lambda: served(node))
        announce, seeds = await announce_url_of(lab, port)
        assert announce == f"https://{LOOPBACK}:{port}/announce"
        assert seeds == [f"https://{LOOPBACK}:{port}/quotes/Nelson"]
        assert (await lab.get(port, "/quotes/Nelson")).content == BODY
        assert b"failure reason" in (await lab.get(port, "/announce")).content
        feed = (await lab.get(port, "/?format=rss")).text
        assert f"https://{LOOPBACK}:{port}/" in feed
        assert f"http://{LOOPBACK}" not in feed
        async with httpx.AsyncClient(trust_env=False) as client:
            plain = await client.get(f"http://{LOOPBACK}:{port}/announce?x")
        assert plain.status_code == 301
        assert plain.headers["location"] == f"https://{LOOPBACK}:{port}/announce?x"
        told = (await status_of(config))["certificate"]
        assert told["names"] == ["localhost", LOOPBACK]
        assert told["handshakes"]["plain"] == 1


async def status_of(config: Config) -> dict:  # type: ignore[type-arg]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{config.admin.listen[0]}/status.json")
    found: dict[str, dict[str, object]] = answer.json()
    return found


async def test_one_listener_may_stay_plain_beside_tls(lab: Lab) -> None:
    port = free_port(LOOPBACK)
    config = lab.write(f'tls_listen = ["{LOOPBACK}:{port}"]\n')
    async with serving(config) as node:
        await until(lambda: served(node))
        assert (await announce_url_of(lab, port))[0] == f"https://{LOOPBACK}:{port}/announce"
        async with httpx.AsyncClient(trust_env=False) as client:
            plain = await client.get(f"http://{config.tracker.listen[0]}/announce")
        assert b"failure reason" in plain.content


async def test_a_renewed_certificate_is_taken_up_when_its_files_change(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = load(lab.file)
    port = config.tracker.listen[0].port
    async with serving(config) as node, httpx.AsyncClient(trust_env=False, verify=lab.trust) as old:
        certificate = node.certificate
        assert certificate is not None
        await old.get(f"https://{LOOPBACK}:{port}/announce")
        before = certificate.current
        lab.renew("localhost")
        await until(lambda: certificate.current is not before)
        assert node.links.announce == f"https://localhost:{port}/announce"
        with pytest.raises(httpx.ConnectError):
            await lab.get(port, "/announce")
        # A connection goes on.
        await old.get(f"https://{LOOPBACK}:{port}/announce")
    assert "another one is in force" in caplog.text


def break_key(lab: Lab) -> str:
    lab.key.write_text("nothing")
    return "tracker.tls_key: "


def break_certificate(lab: Lab) -> str:
    lab.certificate.write_bytes(lab.authority.issue([LOOPBACK], lab.authority.key))
    return "is not the key of the certificate in"


def remove_certificate(lab: Lab) -> str:
    lab.certificate.unlink()
    return "can't be read: No such file or directory"


def let_expire(lab: Lab) -> str:
    lab.renew(LOOPBACK, days=(-9, -1))
    return "expired on"


@pytest.mark.parametrize("spoil", [break_key, break_certificate, remove_certificate, let_expire])
async def test_a_pair_that_cannot_be_used_keeps_the_former_one(
    lab: Lab, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(lab.file)
    port = config.tracker.listen[0].port
    async with serving(config) as node:
        certificate = node.certificate
        assert certificate is not None
        reason = spoil(lab)  # type: ignore[operator]
        await until(lambda: certificate.fault is not None)
        await trio.sleep(0.3)  # it isn't told again while nothing changes
        assert (await lab.get(port, "/announce")).status_code == 200
        [line] = [each for each in caplog.messages if "stays as it is" in each]
        assert reason in line
        assert "\n" not in line
        assert (await status_of(config))["certificate"]["fault"] == certificate.fault
        await reload(node, lab.file)
        assert node.overview.reloads.document()["outcome"] == "partial"
        lab.renew(LOOPBACK)
        await until(lambda: certificate.fault is None)
        await reload(node, lab.file)
        assert node.overview.reloads.document()["outcome"] == "ok"
        assert (await lab.get(port, "/announce")).status_code == 200


async def test_a_reload_takes_up_other_files_and_needs_a_start_to_end_tls(lab: Lab) -> None:
    config = load(lab.file)
    port = config.tracker.listen[0].port
    async with serving(config) as node:
        other = lab.directory / "other"
        other.mkdir()
        lab.certificate, lab.key = lab.authority.write_pair(other, ["localhost"])
        lab.write("")
        await reload(node, lab.file)
        assert node.overview.reloads.document()["outcome"] == "ok"
        assert node.links.announce == f"https://localhost:{port}/announce"
        text = lab.file.read_text()
        lab.file.write_text("\n".join(x for x in text.split("\n") if not x.startswith("tls_")))
        await reload(node, lab.file)
        assert node.overview.reloads.document()["outcome"] == "partial"
        assert node.overview.reloads.reason == (
            "tracker.tls_certificate, tracker.tls_key: takes effect at the next start"
        )
        assert node.links.announce == f"https://localhost:{port}/announce"


async def test_a_pair_that_cannot_be_used_is_no_start(lab: Lab) -> None:
    lab.key.chmod(0o644)
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(load(lab.file)):
            pass
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigError)
    assert str(error).startswith("tracker.tls_key: others can read or change")


async def test_a_certificate_that_ends_soon_is_told_of(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.renew(LOOPBACK, days=(-80, 10))
    async with serving(load(lab.file)) as node:
        await until(lambda: "renew it" in caplog.text)
        assert node.certificate is not None
        assert "renew it" in (node.certificate.concern(time.time()) or "")
    lines = [each for each in caplog.messages if "renew it" in each and "ends on" in each]
    assert len(lines) == 1


async def test_the_metrics_have_the_end_and_the_handshakes(lab: Lab) -> None:
    config = load(lab.file)
    port = config.tracker.listen[0].port
    async with serving(config) as node:
        await lab.get(port, "/announce")
        text = (await node.overview.metrics()).decode()
        certificate = node.certificate
        assert certificate is not None
    [line] = [x for x in text.split("\n") if x.startswith("seeder_tls_certificate_expiry")]
    assert float(line.split()[1]) == certificate.current.ends
    assert 'seeder_tls_handshakes_total{result="done"} 1' in text
    assert "seeder_tls_certificate_refused 0" in text


async def test_the_pair_may_be_credentials_of_systemd(lab: Lab, tmp_path: Path) -> None:
    settings = TrackerSettings(
        tls_certificate_credential="fullchain.pem", tls_key_credential="privkey.pem"
    )
    with pytest.raises(ConfigError, match=r"tls_key_credential: the credential .* is not there"):
        certificates.read_tls(settings, {})
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert certificates.read_tls(settings, environment).names == ("localhost", LOOPBACK)
    assert certificates.certificate_names(settings, environment) == ("localhost", LOOPBACK)
    assert certificates.certificate_names(settings, {}) == ()
    assert certificates.is_out_of_reach(settings, {})
    assert not certificates.is_out_of_reach(settings, environment)
