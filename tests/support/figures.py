"""What the harnesses measured, as the table that the terminal and ``docs/promises.md`` show."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from sources import ROOT

PAGE = ROOT / "docs/promises.md"
PROPERTY = "figure"
_BEGIN = "<!-- figures -->\n"
_END = "<!-- end of figures -->\n"


def collect(reports: Iterable[object]) -> list[tuple[str, str, str]]:
    """Return what passed tests noted: subject, figure and test file, sorted."""
    found = {
        (*figure, str(getattr(report, "nodeid", "")).split("::")[0])
        for report in reports
        for name, figure in getattr(report, "user_properties", ())
        if name == PROPERTY
    }
    return sorted(found)


def write_page(rows: list[tuple[str, str, str]], today: date, page: Path = PAGE) -> None:
    """Put the table into the page, between its two marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "".join(f"| {subject} | {figure} | `{path}` |\n" for subject, figure, path in rows)
    head = f"Measured on {today.isoformat()}.\n\n| what | figure | test |\n|---|---|---|\n"
    page.write_text(f"{before}{_BEGIN}{head}{table}{_END}{after}", encoding="utf-8")
