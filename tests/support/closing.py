"""What a `with` block ends: programs, connections, clients and servers of the tests."""

import abc
from typing import Self


class Closing(abc.ABC):
    """Closed when its `with` block ends, however it ends."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it, and all that it started or holds. Again is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
