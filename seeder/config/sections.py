"""All sections together; `seeder.config.load` reads them from a file.

Python code may build them by itself; `seeder.config.fields` says how it passes each value.
"""

from pathlib import Path
from typing import Annotated

from seeder.config.events import EventSettings
from seeder.config.fields import Directory, Settings, text
from seeder.config.money import BudgetSettings, SavingsSettings
from seeder.config.node import AdminSettings, CacheSettings, ClusterSettings, LogSettings
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.config.public import GatewaySettings, PeerSettings, TrackerSettings


class Config(Settings):
    """A whole configuration."""

    state_directory: Directory
    watch: bool = False
    """Whether the file is taken up by itself when it changes."""
    sidecar_writer: (
        Annotated[str, text("[A-Za-z0-9._:@-]+", "a name of letters, digits, . _ : @ -", 100)]
        | None
    ) = None
    """Who writes torrents beside objects, wherever it runs and whatever becomes of its state."""
    origins: dict[str, OriginSettings]
    """By name; [origin] is "default"."""
    objects: tuple[ObjectSettings, ...]
    events: tuple[EventSettings, ...] = ()
    tracker: TrackerSettings = TrackerSettings()
    peer: PeerSettings = PeerSettings()
    gateway: GatewaySettings = GatewaySettings()
    cache: CacheSettings
    admin: AdminSettings = AdminSettings()
    cluster: ClusterSettings = ClusterSettings()
    savings: SavingsSettings = SavingsSettings()
    budget: BudgetSettings = BudgetSettings()
    log: LogSettings = LogSettings()

    @property
    def control_socket(self) -> Path | None:
        """Where the node is told what to do; None if it is to have no socket for that."""
        return self.admin.control_socket(self.state_directory)
