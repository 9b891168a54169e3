"""What the operator, the publisher and bad luck do: replace, delete, reload, break S3."""

import os
import random
import threading
from pathlib import Path

from tests.e2e.daemon import SeederDaemon
from tests.soak.wire import MODES
from tests.soak.world import BUCKET, KEYS, PREFIX, World
from tests.support.toml import Settings

KEEP = 3
"""Objects with entries that every configuration has."""


def settings(endpoint: str, *, rng: random.Random | None = None) -> Settings:
    """Return the daemon's configuration; with `rng`, one that differs in what a reload changes."""
    keys = list(KEYS)
    peer: dict[str, object] = {
        # Each client is here for the thousandth time.
        "copies_per_address": 1_000_000,
        "origin_copies_per_address": 1_000_000,
        "thrifty": False,
        "super_seeding": "off",
    }
    if rng is not None:
        keys = keys[:KEEP] + [key for key in keys[KEEP:] if rng.randrange(4)]
        peer["upload_slots"] = rng.choice(("auto", "unlimited", 8))
        peer["upload_rate"] = rng.choice(("unlimited", "40 MiB/s", "15 MiB/s"))
        peer["connections"] = rng.choice((2000, 300))
    refresh = {"bucket": BUCKET, "refresh": "2s", "metainfo": ["build"]}
    formats = {KEYS_HYBRID: {"format": "hybrid"}}
    objects: list[object] = [refresh | {"key": key} | formats.get(key, {}) for key in keys]
    objects.append(refresh | {"prefix": PREFIX})
    return {
        "origin": {"endpoint": endpoint, "path_style": True},
        "objects": objects,
        "peer": peer,
        "gateway": {"web_seed": True, "listing": True},
        "cache": {"memory": "4 MiB", "disk": "8 MiB"},
    }


KEYS_HYBRID = list(KEYS)[1]


def set_mode(path: Path, mode: str) -> None:
    """Tell the wire how to break; see `wire.MODES`."""
    written = path.with_suffix(".new")
    written.write_text(mode, encoding="utf-8")
    os.replace(written, path)


def replace_objects(world: World, rng: random.Random) -> None:
    """Replace an object, or delete it and put it back a little later."""
    keys = world.keys
    key = rng.choice(keys)
    if rng.randrange(3):
        world.replace(key)
    else:
        world.delete(key)
        threading.Event().wait(4.0)
        world.restore(key)
    world.note("replacement")


def reload(world: World, daemon: SeederDaemon, endpoint: str, rng: random.Random) -> None:
    """Reload another configuration."""
    daemon.configure(settings(endpoint, rng=rng))
    daemon.reload(timeout=60)
    world.note("reload")


def break_s3(world: World, mode: Path, rng: random.Random, seconds: float) -> None:
    """Let the wire break in one way for a while, and then be whole again."""
    chosen = rng.choice(MODES[1:])
    set_mode(mode, chosen)
    threading.Event().wait(seconds)
    set_mode(mode, "fine")
    world.note(f"S3: {chosen}")
