"""A row of the table: what is compared with which floor, how near it is to come, and how near it came."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .profiles import profile
from .timing import Case, Effort, Sample, measure

if TYPE_CHECKING:
    from .bench import Bench

__all__ = ["Reach", "Result", "Row", "compare", "describe", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The figure to reach: ``at_most`` or ``at_least``; with neither, the row only shows what is."""

    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "-" if self.at_least is None else f"at least {self.at_least:g}"

    def is_met(self, figure: float) -> bool | None:
        """Whether a figure is good enough; ``None`` if nothing is asked."""
        if self.at_most is not None:
            return figure <= self.at_most
        return None if self.at_least is None else figure >= self.at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured.

    ``figure`` is held against the row's reach, ``text`` says it in full. ``floor`` is the floor's own spread and
    ``beside`` what others came to, in the same rounds; ``notes`` are lines to show below the table. ``profile`` finds
    out where the time goes, to be asked if the figure is not good enough.
    """

    figure: float
    text: str
    floor: str = ""
    beside: str = ""
    notes: tuple[str, ...] = ()
    profile: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``floor`` says in words what is 1.0; ``measure`` does the work."""

    what: str
    floor: str
    reach: Reach
    measure: Callable[["Bench"], Result]


def compare(effort: Effort, floor: Case, ours: Case, *others: Case, beside: str = "") -> Result:
    """Time cases in turns, and write ours and others as multiples of the floor."""
    result = judge(measure([floor, ours, *others], effort), beside=beside)
    return replace(result, profile=partial(profile, ours))


def judge(samples: Sequence[Sample], *, beside: str = "") -> Result:
    """Divide by the median of the first sample, the floor. The second is ours; ``beside`` is said after the others."""
    floor, ours, *others = samples
    words = [f"{sample.name} {_format(sample, floor.median)}" for sample in others]
    return Result(
        figure=ours.median / floor.median,
        text=_format(ours, floor.median),
        floor=_format(floor, floor.median),
        beside=", ".join([*words, beside] if beside else words),
    )


def describe(sample: Sample) -> Result:
    """Write a sample that is a ratio already."""
    return Result(figure=sample.median, text=_format(sample, 1))


def _format(sample: Sample, unit: float) -> str:
    """Write the median and, in brackets, the quartiles."""
    middle, first, third = (_number(value / unit) for value in (sample.median, *sample.quartiles))
    return f"{middle} ({first} to {third})"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"
