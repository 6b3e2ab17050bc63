"""The QR code, drawn as a browser draws it and read back by a scanner that is not ours."""

import re

import pytest
import zxingcpp
from PIL import Image, ImageDraw

from flask_iterapay.web.qr import qr_svg

ADDRESSES = [
    "TQn9Y2khEsLJW1ChVWFMSMeRDow5KcbLSE",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ",
    "12345678901234567890",
    "addr1qx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer3jcu5d8ps7zex2k2xt3uqxgjqnnj83ws8lhrn648jjxtwq2ytjqp",
]
SCALE = 8


def rasterise(svg: str) -> Image.Image:
    """Draw the white square and every stroke of the path, on a dark ground as in a dark theme."""
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    ground = re.search(r'<rect width="(\d+)" height="(\d+)" fill="#fff"/>', svg)
    path = re.search(r'd="([^"]*)"', svg)
    assert box is not None
    assert ground is not None
    assert path is not None
    assert box.groups() == ground.groups()
    size = int(box[1])
    image = Image.new("L", ((size + 4) * SCALE,) * 2, 40)
    draw = ImageDraw.Draw(image)
    fill(draw, 0, 0, size, size, 255)
    x = y = 0
    for command, numbers in re.findall(r"([Mmh])([-\d ]+)", path[1]):
        values = [int(number) for number in numbers.split()]
        if command == "M":
            x, y = values
        elif command == "m":
            x, y = x + values[0], y + values[1]
        else:
            fill(draw, x, y, x + values[0], y + 1, 0)
            x += values[0]
    return image


def fill(draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int, shade: int) -> None:
    """Fill a rectangle given in modules."""
    draw.rectangle([(left + 2) * SCALE, (top + 2) * SCALE, (right + 2) * SCALE - 1, (bottom + 2) * SCALE - 1], shade)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_scanner_reads_the_address_back_byte_for_byte(address: str) -> None:
    """What a wallet sees is the address and nothing else: no scheme, no amount, no other case."""
    [code] = zxingcpp.read_barcodes(rasterise(qr_svg(address)))
    assert code.text == address
    assert code.ec_level == "M"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_quiet_zone_of_four_modules_surrounds_the_code(address: str) -> None:
    """The white belongs to the picture, so that no theme can take it away."""
    image = rasterise(qr_svg(address))
    dark = image.crop((2 * SCALE, 2 * SCALE, image.width - 2 * SCALE, image.height - 2 * SCALE)).point(
        lambda v: 255 - v
    )
    left, top, _, _ = dark.getbbox() or (0, 0, 0, 0)
    assert (left, top) == (4 * SCALE, 4 * SCALE)


def test_hostile_text_leaves_no_trace_in_the_markup() -> None:
    """Only modules come of a payload, so the picture is safe to put into a page."""
    svg = qr_svg('"/><script>alert(1)</script>')
    assert "script" not in svg
    assert re.fullmatch(r'[\w\s<>/="#.:()-]+', svg)


def test_the_picture_is_small() -> None:
    """A run of modules is one stroke."""
    assert len(qr_svg(ADDRESSES[0])) < 4000
