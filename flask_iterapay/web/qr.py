"""The QR code of a deposit address, as inline SVG."""

from functools import lru_cache
from itertools import groupby

__all__ = ["qr_svg"]

_QUIET_MODULES = 4


@lru_cache(maxsize=256)
def qr_svg(payload: str) -> str:
    """Draw ``payload`` byte for byte, with error correction M and a quiet zone of four modules.

    Black on white whatever the theme, since scanners fail on the inverse; the white belongs to the picture. Safe to
    put into a page as it is: nothing of the payload but its modules gets into the markup.
    """
    # Importing qrcode imports Pillow wherever that is installed, which costs more than the rest of this package;
    # only a process that shows an address should pay for it.
    from qrcode.constants import ERROR_CORRECT_M
    from qrcode.main import QRCode

    code = QRCode(error_correction=ERROR_CORRECT_M, border=_QUIET_MODULES)
    code.add_data(payload)
    matrix = code.get_matrix()
    size = len(matrix)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges" '
        f'aria-hidden="true"><rect width="{size}" height="{size}" fill="#fff"/>'
        f'<path stroke="#000" transform="translate(0 .5)" d="{_path(matrix)}"/></svg>'
    )


def _path(matrix: list[list[bool]]) -> str:
    """One stroke of width 1 per run of dark modules: far smaller than a square per module."""
    return "".join(_row_path(y, row) for y, row in enumerate(matrix) if any(row))


def _row_path(y: int, row: list[bool]) -> str:
    runs = ((is_dark, len(list(run))) for is_dark, run in groupby(row))
    return f"M0 {y}" + "".join(f"h{length}" if is_dark else f"m{length} 0" for is_dark, length in runs)
