"""What frozen values are made of: orders, links, what happened to them, and what the gateway says.

They are structs of msgspec, which reads and writes them by their annotations, and makes and copies them many times as
fast as dataclasses do. A class whose ``repr`` must not show a field is a dataclass all the same.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    # By the types of msgspec's own, any field of any type could be replaced.
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["Struct", "replace"]
