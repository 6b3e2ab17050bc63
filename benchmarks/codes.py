"""The QR code of an address that was never drawn before."""

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from itertools import count
from typing import Any

from flask_iterapay.web.qr import qr_svg

from .bench import Bench
from .row import Reach, Result, Row, compare
from .timing import Case

__all__ = ["ROWS"]

_NUMBERS = count()


def _new_address() -> str:
    """Make 42 characters that no code was drawn of yet."""
    return f"0x{sha256(str(next(_NUMBERS)).encode()).hexdigest()[:40]}"


def _draw_with_qrcode() -> bytes:
    import qrcode
    from qrcode.image.svg import SvgPathImage

    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(_new_address())
    picture: bytes = code.make_image(image_factory=SvgPathImage).to_string()
    return picture


def _measure_time(bench: Bench) -> Result:
    floor = Case(name="floor", run=_draw_with_qrcode)
    ours = Case(name="ours", run=lambda: qr_svg(_new_address()))
    try:
        peer = Case(name="segno", run=_drawer_with_segno(import_module("segno")))
    except ImportError:
        return compare(bench.effort, floor, ours, beside="segno not installed")
    return compare(bench.effort, floor, ours, peer)


def _drawer_with_segno(segno: Any) -> Callable[[], object]:
    return lambda: segno.make(_new_address(), error="m", micro=False, boost_error=False).svg_inline()


def _measure_size(bench: Bench) -> Result:
    size = max(len(qr_svg(_new_address())) for _ in range(bench.scale(100, 1))) / 1000
    return Result(figure=size, text=f"{size:.2f} kB", beside=f"qrcode {len(_draw_with_qrcode()) / 1000:.1f} kB")


ROWS: tuple[Row, ...] = (
    Row(
        what="first QR of a 42-character address, SVG",
        floor="qrcode's `SvgPathImage`",
        reach=Reach(at_most=0.2),
        measure=_measure_time,
    ),
    Row(
        what="the same: its size in kB, the largest of 100",
        floor="-",
        reach=Reach(at_most=3.5),
        measure=_measure_size,
    ),
)
