"""The QR code, drawn as a browser draws it and read back by a scanner that is not ours."""

import re

import pytest
import zxingcpp
from builders import USDT, make_record, make_snapshot
from msgspec.structs import replace
from PIL import Image, ImageDraw

from flask_iterapay.web.qr import qr_payload, qr_svg

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


URIS = {
    "1": "tron:{address}?amount={pay_amount}",
    "4": "bitcoin:{address}?amount={pay_amount}&label=shop",
    "5": "ethereum:{address}@1?value={pay_amount}e18",
    "usdt-ton": "ton://transfer/{address}",
}


def payload(method_id: int | str = 4, uris: dict[str, str] = URIS, **fields: object) -> str:
    """What the code of an invoice by this method holds."""
    fields = {"address": ADDRESSES[2], "pay_amount": "0.00039120", **fields}
    return qr_payload(make_record(method=replace(USDT, method_id=method_id), **fields), uris)


@pytest.mark.parametrize(("uris", "method_id"), [({}, 4), (URIS, 2), (URIS, "04"), ({"Bitcoin": URIS["4"]}, 4)])
def test_the_address_is_bare_unless_the_shop_chose_a_uri_for_the_method(
    uris: dict[str, str], method_id: object
) -> None:
    """A URI is chosen by the method's id alone: two assets share a network, and a token is no coin."""
    assert payload(method_id, uris) == ADDRESSES[2]


@pytest.mark.parametrize("address", [*ADDRESSES, "EQCD39VS5jcptHL8vMjEXrzGaRcCVYto7HUn4bpAOg8xqB2N", "addr_test1q-x"])
def test_a_uri_holds_what_the_page_shows(address: str) -> None:
    """Address and amount stand in it digit for digit, whether the method's id is a number or a word."""
    assert payload(address=address) == f"bitcoin:{address}?amount=0.00039120&label=shop"
    assert payload(5, address=address, pay_amount="7") == f"ethereum:{address}@1?value=7e18"
    assert payload("usdt-ton", address=address) == f"ton://transfer/{address}"
    [code] = zxingcpp.read_barcodes(rasterise(qr_svg(payload(address=address))))
    assert code.text == payload(address=address)


@pytest.mark.parametrize(
    "address",
    [
        "bitcoincash:qpm2qsznhks23z7629mms6s7cwef74vcwvy22gdx6a",
        "a?amount=1",
        "a&amount=1",
        "a#",
        "a/b",
        "a@1",
        "a%20",
        "{pay_amount}",
        "{address}",
        "a;b",
        "\uff41",
    ],
)
def test_an_address_that_could_change_a_uri_stays_bare(address: str) -> None:
    """What is not letters and digits might add an amount or another receiver."""
    assert payload(address=address) == address


@pytest.mark.parametrize("pay_amount", [None, "", "1e9", "1,5", "+1", "-1", "1.", ".5", "1&amount=9", "\u0661", "1\n"])
def test_without_a_plain_amount_the_address_stays_bare(pay_amount: str | None) -> None:
    """A wallet must not be left to guess."""
    assert payload(pay_amount=pay_amount) == ADDRESSES[2]


def test_once_money_was_seen_no_code_asks_for_the_amount_again() -> None:
    """Whoever sends what is missing scans an address, and enters what is missing."""
    assert payload(snapshot=make_snapshot("pending")) != ADDRESSES[2]
    assert payload(snapshot=make_snapshot("pending", "pending")) == ADDRESSES[2]
    assert payload(snapshot=make_snapshot("partially_paid")) == ADDRESSES[2]


def test_without_an_address_there_is_nothing_to_draw() -> None:
    """An invoice that is being made has none."""
    assert payload(address=None) == ""
