"""Timing cases in turns (A B C A B C ...), so that whatever else the machine does meanwhile disturbs them alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from time import perf_counter

__all__ = ["Case", "Effort", "Sample", "collect", "measure"]


def _nothing(count: int) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to time. ``prepare`` is not timed; it is told how many runs come next."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[int], object] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: so many rounds, in each of which every case runs for about ``seconds``, at least once."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one case came to, round by round: seconds for a run, or another figure."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The middle half of the rounds lies between these."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        first, _, third = quantiles(self.values, n=4, method="inclusive")
        return first, third


def measure(cases: Sequence[Case], effort: Effort) -> list[Sample]:
    """Time the cases, interleaved in rounds; first once each to warm up, then to see how many runs fill a round."""
    counts = [_count_runs(case, effort.seconds) for case in cases]
    watches = {case.name: partial(_time, case, count) for case, count in zip(cases, counts, strict=True)}
    return collect(watches, effort.rounds)


def collect(watches: Mapping[str, Callable[[], float]], rounds: int) -> list[Sample]:
    """Call functions that measure something, in turns."""
    figures = [[watch() for watch in watches.values()] for _ in range(rounds)]
    return [Sample(name=name, values=column) for name, column in zip(watches, zip(*figures, strict=True), strict=True)]


def _count_runs(case: Case, seconds: float) -> int:
    _time(case, 1)
    return max(1, round(seconds / _time(case, 1)))


def _time(case: Case, count: int) -> float:
    case.prepare(count)
    started_at = perf_counter()
    for _ in range(count):
        case.run()
    return (perf_counter() - started_at) / count
