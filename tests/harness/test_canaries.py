"""Secrets that would sing: every way through a shop, and everything that it leaves behind, searched for them."""

import logging
import warnings
from pathlib import Path

import canaries
import pytest
from canaries import Recorder, Search, describe_objects, find_secrets, format_traceback
from flask import Flask
from flask_wtf.csrf import CSRFProtect
from servers import serving
from shops import Shop, csrf_token
from werkzeug.test import Client

from flask_iterapay import ConfigurationError, IteraPay, IteraPayError, LinkEvent, OrderStatus
from flask_iterapay.cli import cli
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.orders.models import OrderEvent
from flask_iterapay.sandbox.app import MERCHANT_ID, create_sandbox_app

pytestmark = pytest.mark.harness

CONFIG = {
    "TESTING": True,
    "PROPAGATE_EXCEPTIONS": False,
    "SECRET_KEY": canaries.SECRET_KEY,
    "SECRET_KEY_FALLBACKS": [canaries.OLD_SECRET_KEY],
    "ITERAPAY_MERCHANT_ID": MERCHANT_ID,
    "ITERAPAY_API_KEY": canaries.API_KEY,
    "ITERAPAY_WEBHOOK_SECRETS": [canaries.WEBHOOK_SECRET, canaries.OLD_WEBHOOK_SECRET],
    "ITERAPAY_PUBLIC_URL": "https://shop.example",
    "ITERAPAY_SYNC_SECONDS": 1,
}


class Walk:
    """A shop over real HTTP to a sandbox, and somebody who tries everything and writes down all that can be seen."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.search = Search()
        self.folder = folder / "shop"
        self.iterapay = IteraPay()
        self.app = Flask("shop", instance_path=str(self.folder))
        self.app.config.update(CONFIG | config)
        CSRFProtect(self.app)
        self.iterapay.init_app(self.app)
        self.app.register_blueprint(self.iterapay.blueprint, url_prefix="/pay")
        self.iterapay.on("order.paid")(self.fail)
        self.iterapay.on("link.payment_received")(self.fail)
        self.client = self.app.test_client()
        self.state = self.app.extensions["iterapay"]

    def fail(self, event: OrderEvent | LinkEvent) -> None:
        raise RuntimeError(f"the warehouse is closed for {event.key}")

    def place(self, order_id: str) -> str:
        with self.app.app_context():
            return self.iterapay.checkout_url(self.iterapay.place_order(order_id, amount="25.00", return_url="/thanks"))

    def create_link(self, link_id: str, **terms: str) -> str:
        with self.app.app_context():
            return self.iterapay.link_url(self.iterapay.create_link(link_id, **terms))

    def come(self, path: str, number: int) -> str:
        """Choose a method at a link; returns the page of the visit."""
        fields = {"csrf_token": csrf_token(self.get(path)), "method": "1", "visit": f"visitor-number-{number}"}
        answer = self.client.post(path, data=fields, buffered=True)
        self.keep(path, answer)
        return str(answer.location)

    def get(self, path: str) -> str:
        return self.keep(path, self.client.get(path, buffered=True))

    def post(self, path: str, page: str, **fields: str) -> str:
        """Post a form with the token of the page that it is on."""
        token = csrf_token(self.get(page))
        return self.keep(path, self.client.post(path, data={"csrf_token": token, **fields}, buffered=True))

    def send(self, body: bytes, signature: str | None) -> None:
        headers = {SIGNATURE_HEADER: signature} if signature is not None else {}
        answer = self.client.post("/pay/webhook", data=body, headers=headers, content_type="application/json")
        self.keep("webhook", answer)

    def keep(self, place: str, answer) -> str:
        self.search.add(f"answer to {place}", f"{answer.status} {answer.headers} {answer.text}")
        answer.close()
        return answer.text

    def run(self, *arguments: str, stdin: str | None = None) -> None:
        """Run a command, and keep what it prints and what it dies of."""
        result = self.app.test_cli_runner().invoke(args=["iterapay", *arguments], input=stdin)
        self.search.add(f"command {arguments}", result.output)
        if result.exception and not isinstance(result.exception, SystemExit):
            self.search.add(f"error of {arguments}", format_traceback(result.exception))

    def attempt(self, place: str, action) -> None:
        """Call something that may fail, and keep its error with the variables of its frames."""
        try:
            with self.app.app_context():
                self.search.add(place, repr(action()))
        except IteraPayError as error:
            self.search.add(f"error of {place}", format_traceback(error))

    def look_around(self) -> None:
        """Keep the representation of everything that can be reached, and every byte that was written to the disk."""
        for name, text in describe_objects([self.state, self.iterapay, self.app.extensions]):
            self.search.add(f"repr of {name}", text)
        self.search.add_files(self.folder)


@pytest.fixture
def recorder():
    """Everything that any logger says, and what Python warns of, from DEBUG on."""
    recorder, root = Recorder(), logging.getLogger()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield recorder
        recorder.lines += [("warning", str(vars(warning))) for warning in caught]
    root.setLevel(level)
    root.removeHandler(recorder)


@pytest.fixture
def gateway(tmp_path):
    """A sandbox that knows the key, in front of which every refusal repeats what it was sent."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    sandbox = create_sandbox_app(
        path=folder / "sandbox.sqlite3",
        merchant_id=MERCHANT_ID,
        api_key=canaries.API_KEY,
        bearer_token=canaries.BEARER_TOKEN,
        deliver=lambda url, headers, body: 200,
    )
    return canaries.EchoingGateway(sandbox)


@pytest.fixture
def walk(tmp_path, gateway):
    """The shop whose gateway that is."""
    with serving(gateway) as base_url:
        walk = Walk(tmp_path, ITERAPAY_BASE_URL=base_url)
        yield walk
        walk.state.client.close()


def walk_through_payment(walk: Walk, gateway: canaries.EchoingGateway) -> None:
    """Choose, pay, be told, look again; the handler fails on the way."""
    path = walk.place("1")
    walk.get(path)
    walk.post(path, path, method="1")
    walk.get(f"{path}/status")
    walk.post(f"{path}/check", path)
    invoice_id = walk.state.service.get("1").current_invoice_id
    Client(gateway.inner).post(f"/panel/invoices/{invoice_id}", data={"action": "pay_exact"}).close()
    body = f'{{"invoiceID": "{invoice_id}"}}'.encode()
    for secret in (canaries.WEBHOOK_SECRET, canaries.OLD_WEBHOOK_SECRET):
        walk.send(body, sign(body, secret))
    for signature in (None, "", canaries.WEBHOOK_SECRET, "0" * 64, sign(body, "another"), f"x{sign(body, 'x')}"):
        walk.send(body, signature)
    walk.get(path)
    walk.get("/pay/made-up")
    walk.keep("a form without its token", walk.client.post(path, data={"method": "1"}))


def walk_through_link(walk: Walk, gateway: canaries.EchoingGateway) -> None:
    """Come to a link, pay, be told, look again; then have every call refused, and send everything that is refused."""
    path = walk.create_link("library", minimum="20.00", slug="library")
    mine = walk.come(path, 1)
    visit = walk.state.links.get_visit(walk.state.visit_tokens.verify(mine.rpartition("/")[2]))
    data = {"action": "pay_exact", "address": visit.address}
    Client(gateway.inner).post(f"/panel/invoices/{visit.invoice_id}", data=data).close()
    body = f'{{"invoiceID": "{visit.invoice_id}"}}'.encode()
    walk.send(body, sign(body, canaries.WEBHOOK_SECRET))
    for gateway.status in (None, "400", "401", "403", "404", "429", "500", "302"):
        for page in (path, mine, f"{mine}/status", f"{mine}/check"):
            walk.get(page)
        walk.post(f"{mine}/check", mine)
        walk.get(walk.come(path, int(gateway.status or 2)))
        walk.send(body, sign(body, canaries.WEBHOOK_SECRET))
        walk.attempt("sync_link", lambda: walk.iterapay.sync_link("library"))
        walk.attempt("reconcile", lambda: walk.iterapay.reconcile())
    gateway.status = None
    for page in ("/pay/links/made-up", "/pay/visits/made-up", f"{mine}x"):
        walk.get(page)
    walk.keep("a form without its token", walk.client.post(path, data={"method": "1"}))
    walk.post(path, path, method="99", visit="short")
    for arguments in (
        ("list",),
        ("show", "library"),
        ("payments", "library"),
        ("visit", visit.reference),
        ("sync", "x"),
    ):
        walk.run("link", *arguments)


def walk_through_refusals(walk: Walk, gateway: canaries.EchoingGateway) -> None:
    """Have every call refused by a gateway that echoes key, token and secret."""
    path, new = walk.place("2"), walk.place("3")
    walk.post(path, path, method="1")
    order = walk.state.service.get("2")
    body = f'{{"invoiceID": "{order.current_invoice_id}"}}'.encode()
    for status in ("400", "401", "403", "404", "429", "500", "503", "302"):
        gateway.status = status
        walk.post(new, new, method="1")
        walk.post(f"{path}/check", path)
        walk.send(body, sign(body, canaries.WEBHOOK_SECRET))
        walk.attempt("sync", lambda: walk.iterapay.sync("2"))
        walk.attempt("reconcile", lambda: walk.iterapay.reconcile())
        walk.attempt("list", lambda: walk.state.client.list_invoices())
        walk.run("webhook", "register", "--yes", stdin=canaries.BEARER_TOKEN)
        walk.run("reconcile")
        walk.run("methods")
    gateway.status = None


def walk_through_commands(walk: Walk) -> None:
    """Run every command there is, with an order and without, and the registration with right and wrong tokens."""
    for name in sorted(set(cli.commands) - {"sandbox", "webhook"}):
        for arguments in ((), ("--help",), ("1",), ("1", "--json"), ("1", "--accept", "--note", "known")):
            walk.run(name, *arguments)
    for stdin in (canaries.BEARER_TOKEN, f"{canaries.BEARER_TOKEN} x", f"{canaries.BEARER_TOKEN}-wrong", ""):
        walk.run("webhook", "register", "--yes", stdin=stdin)
    walk.run("webhook", "show")


def walk_without_database(walk: Walk) -> None:
    """Take the database away under the feet of everything."""
    path = walk.place("4")
    token = csrf_token(walk.get(path))
    files = [file.rename(file.with_name(f"was-{file.name}")) for file in sorted(walk.folder.glob("iterapay.sqlite3*"))]
    (walk.folder / "iterapay.sqlite3").mkdir()
    visit = f"/pay/visits/{walk.state.visit_tokens.sign('x')}"
    for page in (path, "/pay/links/library", visit, f"{visit}/status"):
        walk.get(page)
    for target in (path, "/pay/links/library", f"{visit}/check"):
        walk.keep("a form", walk.client.post(target, data={"csrf_token": token, "method": "1"}))
    walk.send(b'{"invoiceID": "x"}', sign(b'{"invoiceID": "x"}', canaries.WEBHOOK_SECRET))
    walk.attempt("get_order", lambda: walk.iterapay.get_order("4"))
    walk.run("reconcile")
    (walk.folder / "iterapay.sqlite3").rmdir()
    for file in files:
        file.rename(file.with_name(file.name.removeprefix("was-")))


def test_no_secret_is_left_anywhere(walk, gateway, recorder, tmp_path):
    """Logs of every library at DEBUG, pages, headers, cookies, JSON, commands, representations, tracebacks, files."""
    walk_through_payment(walk, gateway)
    walk_through_link(walk, gateway)
    walk_through_refusals(walk, gateway)
    walk_through_commands(walk)
    walk_without_database(walk)
    walk.look_around()
    walk.search.seen += recorder.lines
    assert walk.search.find() == []
    loggers = {place for place, _ in recorder.lines}
    assert {"log of flask_iterapay", "log of httpx", "log of httpcore.http11"} <= loggers
    for name in ("order.paid", "link.payment_received"):
        assert any(f"the warehouse is closed for {name}" in text for _, text in recorder.lines)


def test_a_gateway_in_the_same_process_leaves_none_either(tmp_path, recorder):
    """The sandbox's panel, its log of deliveries and its file know the secrets, and show none of them."""
    shop = Shop(
        tmp_path / "shop",
        PROPAGATE_EXCEPTIONS=False,
        SECRET_KEY=canaries.SECRET_KEY,
        ITERAPAY_WEBHOOK_SECRETS=canaries.WEBHOOK_SECRET,
    )
    shop.set_sandbox(webhook_faults="duplicate")
    search = Search()
    shop.choose(shop.place())
    shop.act("pay_exact")
    mine = shop.come(shop.create_link())
    shop.send(mine)
    invoices = [f"panel/invoices/{item}" for item in (shop.order().current_invoice_id, shop.visit(mine).invoice_id)]
    for path in ("panel/", "panel/settings", "panel/deliveries", *invoices, "payment_methods", "nowhere"):
        answer = shop.client.get(f"/pay/sandbox/{path}", buffered=True)
        search.add(path, f"{answer.headers} {answer.text}")
    for name, text in describe_objects([shop.state, shop.state.sandbox.extensions]):
        search.add(f"repr of {name}", text)
    search.add_files(tmp_path)
    assert shop.order().status is OrderStatus.PAID
    assert [*search.find(), *(line for place, line in recorder.lines if find_secrets(line))] == []


def test_a_configuration_that_is_refused_repeats_no_value():
    """A secret in the wrong place, or in the wrong form, is in no message, nor in the settings' variables."""
    wrong = [
        {"ITERAPAY_API_KEY": f"{canaries.API_KEY} \n"},
        {"ITERAPAY_WEBHOOK_SECRETS": f"{canaries.WEBHOOK_SECRET},{canaries.OLD_WEBHOOK_SECRET}"},
        {"ITERAPAY_WEBHOOK_SECRETS": [canaries.WEBHOOK_SECRET, canaries.WEBHOOK_SECRET]},
        {"ITERAPAY_BASE_URL": f"https://user:{canaries.PASSWORD}@gateway.example"},
        {"ITERAPAY_DATABASE_URL": f" postgresql://shop:{canaries.PASSWORD}@db/shop"},
        {"ITERAPAY_AML": canaries.API_KEY},
        {"ITERAPAY_MERCHANT_ID": f"{canaries.BEARER_TOKEN}/"},
        {"ITERAPAY_KEY": canaries.API_KEY},
    ]
    for config in wrong:
        assert find_secrets(format_traceback(_refuse(**config))) == []
    assert find_secrets(str(_refuse(SECRET_KEY_FALLBACKS=canaries.OLD_SECRET_KEY))) == []
    assert find_secrets(str(_refuse(ITERAPAY_DATABASE_URL=f"nothing://shop:{canaries.PASSWORD}@db/shop"))) == []


def _refuse(**config: object) -> ConfigurationError:
    app = Flask("shop")
    app.config.update(CONFIG | config)
    with pytest.raises(ConfigurationError) as caught:
        IteraPay(app)
    return caught.value


def leak_by_handler(walk):
    """A handler that logs what it calls its supplier with."""
    walk.iterapay.on("order.paid")(lambda event: logging.getLogger("shop").debug("with %s", canaries.API_KEY))


def leak_by_error(walk):
    """A handler whose error quotes its surroundings."""

    def fail_loudly(event):
        key = walk.app.config["ITERAPAY_API_KEY"]
        raise RuntimeError(f"refused: {key}")

    walk.iterapay.on("order.paid")(fail_loudly)


def leak_by_page(walk):
    """A page that greets with the configuration."""
    walk.app.view_functions["iterapay.status"] = lambda token: str(walk.app.config)


def leak_by_visit(walk):
    """A visitor's page that is as open."""
    walk.app.view_functions["iterapay.visit_status"] = lambda token: str(walk.app.config)


def leak_by_header(walk):
    """A response that says what it was signed with."""

    @walk.app.after_request
    def sign_openly(response):
        response.headers["X-Debug"] = canaries.SECRET_KEY.encode().hex()
        return response


def leak_by_database(walk):
    """A shop that puts its key into what is stored."""
    with walk.app.app_context():
        walk.iterapay.place_order("0", amount=1, metadata={"key": canaries.API_KEY})


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        (leak_by_handler, "log of shop"),
        (leak_by_error, "log of flask_iterapay"),
        (leak_by_page, "answer to /pay/"),
        (leak_by_visit, "answer to /pay/visits/"),
        (leak_by_header, "answer to webhook"),
        (leak_by_database, "file iterapay.sqlite3"),
    ],
)
def test_a_leak_is_found_where_it_is(leak, place, walk, gateway, recorder, secret_watch):
    """The search turns red for each kind of place, and names it."""
    leak(walk)
    walk_through_payment(walk, gateway)
    walk_through_link(walk, gateway)
    walk.look_around()
    walk.search.seen += recorder.lines
    assert any(found.startswith(place) for found in walk.search.find())
    # This one is meant; in any other test it would be an error.
    secret_watch.found.clear()


def test_a_representation_that_shows_too_much_is_found():
    """An object of the package's own that shows its secret is named, however deep it sits."""

    class Loud:
        __module__ = "flask_iterapay.gateway.client"

        def __init__(self, key):
            self.key = key

        def __repr__(self):
            return f"Loud({self.key})"

    ((name, text),) = describe_objects([{"x": [(Loud(canaries.API_KEY),)]}])
    assert name.endswith("Loud")
    assert find_secrets(text)


def test_a_traceback_that_shows_too_much_is_found(tmp_path):
    """The variables of frames outside of the tests are searched."""
    namespace = {"__name__": "elsewhere"}
    source = f"def call():\n    header = {{'X-Api-Key': {canaries.API_KEY!r}}}\n    raise OSError('no route')\n"
    exec(compile(source, str(tmp_path / "elsewhere.py"), "exec"), namespace)
    with pytest.raises(OSError, match="no route") as caught:
        namespace["call"]()
    assert find_secrets(format_traceback(caught.value))


@pytest.mark.parametrize(
    ("line", "is_found"), [(f"refused: {canaries.API_KEY}", True), (f"refused: {MERCHANT_ID}", False)]
)
def test_every_test_of_the_suite_watches_the_log(line, is_found, secret_watch, caplog):
    """What the package logs is looked through even where its level is not shown, and what is shown stays the same."""
    logger = logging.getLogger("flask_iterapay")
    logger.info(line)
    assert bool(secret_watch.found) is is_found
    secret_watch.found.clear()
    try:
        raise OSError(line)
    except OSError:
        logger.warning("failed", exc_info=True)
    assert bool(secret_watch.found) is is_found
    secret_watch.found.clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
