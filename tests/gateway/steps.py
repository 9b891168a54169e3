"""How often a task gives its turn away."""

import trio


class StepsOf(trio.abc.Instrument):
    """Counts how often one task was given a turn."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task, self.count = task, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task
