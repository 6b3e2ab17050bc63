"""Where a customer may be sent back to."""

import pytest

from flask_iterapay.web.urls import is_allowed_return_url

ORIGINS = ["https://shop.example", "https://other.example:8443"]


@pytest.mark.parametrize(
    "url",
    ["/", "/thanks?order=1", "https://shop.example/thanks", "HTTPS://SHOP.example", "https://other.example:8443/"],
)
def test_paths_and_allowed_origins_pass(url):
    """A path of this site, or one of the origins that the merchant named."""
    assert is_allowed_return_url(url, ORIGINS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "thanks",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/thanks\r\nSet-Cookie: a=b",
        " https://shop.example",
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://shop.example@evil.example",
        "https://user@shop.example",
        "https://shop.example:444",
        "http://shop.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://[",
        "https:shop.example",
    ],
)
def test_everything_else_is_refused(url):
    """No spelling leads off the site."""
    assert not is_allowed_return_url(url, ORIGINS)
