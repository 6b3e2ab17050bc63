import pytest
from shops import Shop


@pytest.fixture
def shop(tmp_path):
    """A shop on the sandbox whose forms need no CSRF token."""
    return Shop(tmp_path)
