"""Whether an origin has a call that not every S3 has, learnt from its answers. No I/O."""

UNSUPPORTED_AFTER = 3
"""Keys that must get "no such thing" before an origin counts as one without the call."""


class Support:
    """What is known of one optional call of one origin."""

    def __init__(self) -> None:
        self._refusals = 0

    @property
    def absent(self) -> bool:
        return self._refusals >= UNSUPPORTED_AFTER

    def answered(self) -> None:
        """Take note that it has it: what single keys lack says nothing of the others."""
        self._refusals = -(10**9)

    def refused(self, for_every_key: bool) -> None:
        """Take note of an answer that it isn't to be had, of this key or at all."""
        self._refusals += UNSUPPORTED_AFTER if for_every_key else 1
