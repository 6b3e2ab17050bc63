"""The QR code of a deposit address: what it holds, and its picture as inline SVG."""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby

from ..orders.models import InvoiceRecord
from ..orders.verdict import has_money

__all__ = ["has_qr_amount", "qr_payload", "qr_svg"]

_QUIET_MODULES = 4
# A scanner reads any of the eight, since the code says which one it has. Trying all of them, as ISO/IEC 18004 7.8.3
# has it, takes six times as long as the rest of the drawing; for addresses this one is mostly the best.
_MASK = 2
# No character with a meaning in a URI: whatever the gateway sends stays the address, or the amount, and nothing else.
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_AMOUNT = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def qr_payload(invoice: InvoiceRecord, qr_uris: Mapping[str, str]) -> str:
    """Say what the code of an invoice holds: its bare address, or the URI that the shop chose for the method.

    ``qr_uris`` are those of the settings. The address stays bare where the gateway's words do not fit into a URI, and
    once money was seen, since the amount of a URI would then ask for it again. Empty while there is no address.
    """
    address, uri = invoice.address or "", _choose_uri(invoice, qr_uris)
    return uri.replace("{address}", address).replace("{pay_amount}", invoice.pay_amount or "") if uri else address


def has_qr_amount(invoice: InvoiceRecord, qr_uris: Mapping[str, str]) -> bool:
    """Whether the code of an invoice holds its pay amount too."""
    return "{pay_amount}" in _choose_uri(invoice, qr_uris)


def _choose_uri(invoice: InvoiceRecord, qr_uris: Mapping[str, str]) -> str:
    uri = qr_uris.get(str(invoice.method.method_id), "")
    is_plain = _PLAIN_ADDRESS.fullmatch(invoice.address or "") and _PLAIN_AMOUNT.fullmatch(invoice.pay_amount or "")
    return uri if is_plain and not has_money(invoice) else ""


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

    code = QRCode(error_correction=ERROR_CORRECT_M, border=_QUIET_MODULES, mask_pattern=_MASK)
    code.add_data(payload)
    matrix = code.get_matrix()
    size = len(matrix)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/>'
        f'<path stroke="#000" transform="translate(0 .5)" d="{_path(matrix)}"/></svg>'
    )


def _path(matrix: list[list[bool]]) -> str:
    """One stroke of width 1 per run of dark modules: far smaller than a square per module."""
    return "".join(_row_path(y, row) for y, row in enumerate(matrix) if any(row))


def _row_path(y: int, row: list[bool]) -> str:
    # Every row begins and ends in the quiet zone, of which nothing is drawn.
    (_, start), *runs, _ = ((is_dark, len(list(run))) for is_dark, run in groupby(row))
    return f"M{start} {y}" + "".join(f"h{length}" if is_dark else f"m{length} 0" for is_dark, length in runs)
