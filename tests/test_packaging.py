"""The wheel is all that a shop needs: built from the source distribution, installed far from the checkout, and used."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sources import ROOT

pytestmark = pytest.mark.process

# Runs where only the wheel and what it requires are installed; -I keeps the checkout out of sight.
SHOP = """
import importlib.util, pathlib, re, sys
import flask, flask_iterapay

assert pathlib.Path(flask_iterapay.__file__).is_relative_to(sys.prefix), flask_iterapay.__file__
app = flask.Flask("shop", instance_path=sys.argv[1])
app.config.update(TESTING=True, SECRET_KEY="of this test", ITERAPAY_SANDBOX=True, WTF_CSRF_ENABLED=False)
iterapay = flask_iterapay.IteraPay(app)
app.register_blueprint(iterapay.blueprint, url_prefix="/pay")
with app.app_context():
    page = iterapay.checkout_url(iterapay.place_order("1042", amount="25.00"))

def get(path):
    response = client.get(path, buffered=True)
    assert response.status_code == 200 and response.data, (path, response.status)
    return response.text

def get_with_files(path):
    html = get(path)
    files = re.findall(r'(?:href|src)="([^"]+[.](?:css|js))"', html)
    print(*(file.rpartition("/")[2] for file in files if get(file)))
    return html

client = app.test_client()
assert client.post(page, data={"method": "1"}, buffered=True).status_code == 303
assert "<svg" in get_with_files(page)
get_with_files("/pay/sandbox/panel/")
german = client.get(page, headers={"Accept-Language": "de"}).text
assert importlib.util.find_spec("flask_babel") is None and 'lang="de"' in german and "Adresse" in german
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; whatever it complained about is in the failure."""
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Templates, styles, scripts and py.typed are in it; tests and the example shop are not."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "flask_iterapay").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert packed == {path.relative_to(ROOT).as_posix() for path in files}
    assert {"flask_iterapay/py.typed", "flask_iterapay/web/static/checkout.js"} <= packed


def test_the_installed_wheel_takes_an_order_to_the_payment_page(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment, without Flask-Babel, pages, languages, the sandbox's panel and files are there."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel)
    printed = run(python, "-I", "-c", SHOP, tmp_path / "instance", cwd=tmp_path)
    assert printed.split() == ["checkout.css", "checkout.js", "panel.css"]
