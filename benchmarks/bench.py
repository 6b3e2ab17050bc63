"""What the rows share: how much to measure, a folder, and servers and databases that are started at their first use."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .timing import Effort

__all__ = ["Bench", "NotInstalledError"]

Resource = TypeVar("Resource")


class NotInstalledError(Exception):
    """A row cannot be measured here; the message says what must be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of the program. What ``use`` started is stopped when ``stack`` is closed."""

    effort: Effort
    is_quick: bool
    folder: Path
    stack: ExitStack
    _used: dict[Any, Any] = field(default_factory=dict)

    def use(self, resource: "Callable[[Bench], AbstractContextManager[Resource]]") -> Resource:
        """Start a resource, or return it if it runs already.

        Raises:
            NotInstalledError: what it needs is missing.
        """
        if resource not in self._used:
            self._used[resource] = self.stack.enter_context(resource(self))
        started: Resource = self._used[resource]
        return started

    def scale(self, full: int, quick: int) -> int:
        """Choose a count: the first for figures, the second to see that the row works."""
        return quick if self.is_quick else full
