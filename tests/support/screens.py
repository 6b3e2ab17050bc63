"""Every screen of orders and payment links, each made by a real shop on the sandbox, and a server that shows them all.

What a customer or a visitor can see is in ``SCREENS``. A ``Gallery`` prepares a screen when it is first asked for;
after that it opens in any browser context within milliseconds. The shops' clocks stand still, so a screen stays what it
is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_wtf.csrf import CSRFProtect
from servers import serving
from shops import Shop
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Response

from flask_iterapay import IteraPay, StoreUnavailableError
from flask_iterapay.orders.models import MAX_INVOICES
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.web.link_view import LinkState
from flask_iterapay.web.view import PageState

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import Page

Step = Callable[[Shop], object]

QUOTE_SECONDS = 900
WATCH_SECONDS = 7 * 24 * 3600


class FragileStore(MemoryStore):
    """Keeps orders until it is told to fail: at once, or after so many more changes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.saves_left: int | None = None

    def get(self, key: str) -> Any:
        self._be_there()
        return super().get(key)

    def get_by_ref(self, ref: str) -> Any:
        self._be_there()
        return super().get_by_ref(ref)

    def search(self, *arguments: Any, **filters: Any) -> Any:
        self._be_there()
        return super().search(*arguments, **filters)

    def _be_there(self) -> None:
        if self.is_down:
            raise StoreUnavailableError("the database is down")

    def save(self, record: Any, *, expected_version: int) -> bool:
        if self.saves_left == 0:
            raise StoreUnavailableError("the database is down")
        if self.saves_left is not None:
            self.saves_left -= 1
        return super().save(record, expected_version=expected_version)


def make_shop(folder: Path, **config: object) -> Shop:
    """A shop that may read the sandbox every second, with a page to come back to and the icon that browsers ask for."""
    config = {"ITERAPAY_SYNC_SECONDS": 1, "ITERAPAY_SUPPORT_URL": "https://shop.example/help"} | config
    shop = Shop(folder, iterapay=IteraPay(store=FragileStore()), **config)
    CSRFProtect(shop.app)
    shop.app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    shop.app.add_url_rule("/thanks", "thanks", lambda: "<title>Thanks</title><h1>Thank you for your order</h1>")
    return shop


def prepare(shop: Shop, *steps: Step, method: str | None = "1", **order: str) -> str:
    """Place an order, choose a method, and let ``steps`` happen; returns the path of the page."""
    path = shop.place(**order)
    if method:
        shop.choose(path, method)
    for step in steps:
        step(shop)
    return path


def prepare_link(shop: Shop, *steps: Step, **terms: object) -> str:
    """Make a payment link, and let ``steps`` happen; returns the path of its page."""
    path = shop.create_link(**terms)
    for step in steps:
        step(shop)
    return path


def act(action: str) -> Step:
    """A step: something happens at the gateway, and the shop may ask it again."""

    def step(shop: Shop) -> None:
        shop.act(action)
        shop.clock.advance(1)

    return step


def wait(seconds: int) -> Step:
    """A step: time passes at the shop."""
    return lambda shop: shop.clock.advance(seconds)


def set_sandbox(**settings: str) -> Step:
    """A step: the sandbox is switched."""
    return lambda shop: shop.set_sandbox(**settings)


def choose(method: str) -> Step:
    """A step: the customer chooses a method, perhaps in another tab."""
    return lambda shop: shop.state.service.choose_method("1042", method)


def look(shop: Shop) -> None:
    """A step: somebody looks at the page."""
    shop.state.service.poll("1042")


def renew(shop: Shop) -> None:
    """A step: the customer asks for a new price, perhaps in another tab."""
    shop.state.service.renew("1042")


def break_gateway(shop: Shop) -> None:
    """A step: the gateway fails from now on, and the shop may ask it again."""
    shop.break_gateway()
    shop.clock.advance(1)


def cancel(shop: Shop) -> None:
    """A step: the shop cancels the order."""
    with shop.app.app_context():
        shop.iterapay.cancel_order("1042")


def resolve(*, is_accepted: bool) -> Step:
    """A step: a person at the shop decides about the money on an order."""
    return lambda shop: shop.state.service.resolve_hold("1042", is_accepted=is_accepted, actor="Ann")


def fail_at_the_address(shop: Shop) -> None:
    """A step: the customer chooses, and the gateway fails after the invoice was made."""
    shop.set_sandbox(api_fault="500", fault_operation="address", fault_calls="0")
    shop.choose(shop.place())


def die_while_choosing(shop: Shop) -> None:
    """A step: the customer chooses, and the shop dies after it said so and before it has an invoice."""
    shop.state.store.saves_left = 1
    assert shop.client.post(shop.place(), data={"method": "1"}).status_code == 503
    shop.state.store.saves_left = None


def take_store_down(shop: Shop) -> None:
    """A step: the shop's database fails from now on."""
    shop.state.store.is_down = True


def pay_superseded(shop: Shop) -> None:
    """A step: money comes to the invoice that was made first, and the shop gets to reading it."""
    invoice_id = shop.order().invoices[0].invoice_id
    response = Client(shop.state.sandbox).post(f"/panel/invoices/{invoice_id}", data={"action": "pay_exact"})
    assert response.status_code == 303, response.text
    shop.clock.advance(3 * 3600)


def use_up_invoices(shop: Shop) -> None:
    """A step: the customer changes the method until no further invoice may be made; the newest can be paid."""
    shop.set_sandbox(quote_seconds="1")
    for number in range(MAX_INVOICES - 1):
        shop.clock.advance(2)
        shop.state.service.choose_method("1042", str(number % 2 + 2))
    shop.set_sandbox()
    shop.clock.advance(2)
    shop.state.service.choose_method("1042", "1")


def come(method: str = "1") -> Step:
    """A step: somebody comes to the payment link and chooses a method."""

    def step(shop: Shop) -> None:
        with shop.app.app_context():
            path = shop.iterapay.link_url(shop.link())
        shop.come(path, method)

    return step


def send(action: str, *, visit: int = -1) -> Step:
    """A step: money comes to the address of a visit, by default the newest, and the shop may ask the gateway again."""

    def step(shop: Shop) -> None:
        shop.send(shop.visits[visit], action)
        shop.clock.advance(1)

    return step


def look_at_link(shop: Shop) -> None:
    """A step: somebody looks at the payment link's page."""
    shop.state.links.poll("library")


def come_in_vain(shop: Shop) -> None:
    """A step: somebody comes while the gateway gives no addresses."""
    shop.set_sandbox(api_fault="500", fault_operation="address", fault_calls="0")
    come()(shop)


def be_refused(shop: Shop) -> None:
    """A step: somebody comes and is given no address, for the gateway takes the link's invoice for another method's."""
    come()(shop)
    store = shop.state.sandbox.extensions["iterapay_sandbox"].service.store
    invoice_id = shop.link().invoices[0].invoice_id
    store.change(invoice_id, lambda invoice, settings: (replace(invoice, method_id=4, addresses=()), ()))
    come()(shop)


def close(shop: Shop) -> None:
    """A step: the shop closes the payment link."""
    with shop.app.app_context():
        shop.iterapay.close_link("library")


def protect_forms(shop: Shop) -> None:
    """A step: from now on the shop takes forms with a CSRF token alone."""
    shop.app.config["WTF_CSRF_ENABLED"] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One thing that a customer or a visitor can see, and how to get there.

    ``state`` is that of an order's page, ``None`` where there is no order to show. An order is placed with ``order`` in
    a shop with ``config``, paid by ``method`` if there is one, and ``steps`` happen. With ``form`` the screen is the
    answer to it, sent to the page's address with ``suffix``. ``press`` is what the customer presses on the page. Before
    each look ``pause`` seconds pass at the shop.

    ``link_state`` is that of a payment link's page, or with ``is_visit`` of its newest visit's. The link is made with
    the terms ``link``; nobody comes to it but in ``steps``.
    """

    name: str
    state: PageState | None = None
    link_state: LinkState | None = None
    is_visit: bool = False
    method: str | None = "1"
    steps: tuple[Step, ...] = ()
    suffix: str = ""
    form: Mapping[str, str] | None = None
    press: str | None = None
    pause: int = 0
    config: Mapping[str, object] = field(default_factory=dict)
    order: Mapping[str, str] = field(
        default_factory=lambda: {"description": "Dot-grid notebook", "return_url": "/thanks"}
    )
    link: Mapping[str, object] = field(
        default_factory=lambda: {"description": "Notebooks for the library", "minimum": "20.00"}
    )


_OVER = wait(QUOTE_SECONDS)
_TELL = set_sandbox(transaction_detail="told", reusable_address="new")
_CHOICE = {"method": "1", "visit": "the-visit-of-a-form"}
SCREENS = (
    Screen(name="choose_method", state=PageState.CHOOSE_METHOD, method=None),
    Screen(name="choose_method_refused", state=PageState.CHOOSE_METHOD, method=None, form={"method": "99"}),
    Screen(
        name="choose_method_failed",
        state=PageState.CHOOSE_METHOD,
        method=None,
        steps=(set_sandbox(api_fault="500", fault_operation="create", fault_calls="0"),),
        form={"method": "1"},
    ),
    Screen(name="choose_method_unavailable", state=PageState.CHOOSE_METHOD, method=None, steps=(break_gateway,)),
    Screen(name="choose_method_empty", state=PageState.CHOOSE_METHOD, method=None, config={"ITERAPAY_METHODS": ["99"]}),
    Screen(name="preparing", state=PageState.PREPARING, method=None, steps=(die_while_choosing,)),
    Screen(name="waiting", state=PageState.WAITING),
    Screen(name="waiting_long_amount", state=PageState.WAITING, method="5"),
    Screen(
        name="waiting_for_days",
        state=PageState.WAITING,
        method=None,
        steps=(set_sandbox(quote_seconds="86400"), choose("1")),
    ),
    Screen(name="waiting_methods_open", state=PageState.WAITING, press="#ip-change-summary"),
    Screen(name="waiting_method_refused", state=PageState.WAITING, form={"method": "99"}),
    Screen(name="waiting_too_many", state=PageState.WAITING, steps=(use_up_invoices,), form={"method": "4"}),
    Screen(name="waiting_stale_form", state=PageState.WAITING, steps=(protect_forms,), suffix="/check", form={}),
    Screen(name="waiting_renewed", state=PageState.WAITING, steps=(_OVER, look, renew)),
    Screen(name="waiting_transfer_refused", state=PageState.WAITING, steps=(act("pay_dust"),)),
    Screen(name="waiting_unreachable", state=PageState.WAITING, steps=(break_gateway,)),
    Screen(name="confirming", state=PageState.CONFIRMING, steps=(act("pay_pending"),)),
    Screen(name="paid", state=PageState.PAID, steps=(act("pay_exact"),)),
    Screen(name="paid_twice", state=PageState.PAID, steps=(choose("2"), act("pay_exact"), look, pay_superseded)),
    Screen(
        name="paid_plain",
        state=PageState.PAID,
        steps=(act("pay_exact"),),
        config={"ITERAPAY_SUPPORT_URL": None},
        order={},
    ),
    Screen(name="overpaid", state=PageState.OVERPAID, steps=(act("pay_over"),)),
    Screen(name="underpaid_open", state=PageState.UNDERPAID_OPEN, steps=(act("pay_short"),)),
    Screen(name="underpaid_closed", state=PageState.UNDERPAID_CLOSED, steps=(act("pay_short"), _OVER)),
    Screen(
        name="expired_with_money",
        state=PageState.EXPIRED_WITH_MONEY,
        steps=(act("pay_pending"), look, act("expire")),
    ),
    Screen(name="expired", state=PageState.EXPIRED, steps=(act("expire"),)),
    Screen(name="expired_unwatched", state=PageState.EXPIRED, steps=(act("expire"), look, wait(WATCH_SECONDS), look)),
    Screen(name="expired_transfer_refused", state=PageState.EXPIRED, steps=(act("pay_dust"), act("expire"))),
    Screen(name="late", state=PageState.LATE, steps=(act("pay_late"),)),
    Screen(name="under_review", state=PageState.UNDER_REVIEW, steps=(act("aml_fail"),)),
    Screen(name="checking", state=PageState.CHECKING, steps=(act("unknown_state"),)),
    Screen(name="cancelled", state=PageState.CANCELLED, steps=(cancel,)),
    Screen(name="cancelled_with_transfer", state=PageState.CANCELLED, steps=(cancel, act("pay_exact"), wait(60), look)),
    Screen(name="unreachable", state=PageState.UNREACHABLE, steps=(_OVER, break_gateway)),
    Screen(name="unreachable_preparing", state=PageState.UNREACHABLE, method=None, steps=(fail_at_the_address,)),
    Screen(name="not_found", suffix="-made-up"),
    Screen(name="problem", steps=(take_store_down,)),
    Screen(name="link_choose_method", link_state=LinkState.CHOOSE_METHOD),
    Screen(name="link_choose_method_plain", link_state=LinkState.CHOOSE_METHOD, link={}),
    Screen(name="link_choose_method_refused", link_state=LinkState.CHOOSE_METHOD, form=_CHOICE | {"method": "99"}),
    Screen(name="link_choose_method_unavailable", link_state=LinkState.CHOOSE_METHOD, steps=(break_gateway,)),
    Screen(name="link_choose_method_empty", link_state=LinkState.CHOOSE_METHOD, link={"methods": ["99"]}),
    Screen(
        name="link_choose_method_too_many",
        link_state=LinkState.CHOOSE_METHOD,
        steps=(come(),),
        form=_CHOICE,
        config={"ITERAPAY_ADDRESSES_PER_HOUR": 1},
    ),
    Screen(
        name="link_choose_method_stale_form", link_state=LinkState.CHOOSE_METHOD, steps=(protect_forms,), form=_CHOICE
    ),
    Screen(
        name="link_choose_method_listed",
        link_state=LinkState.CHOOSE_METHOD,
        steps=(come(), send("pay_exact"), send("pay_pending"), send("aml_fail")),
    ),
    Screen(name="link_preparing", link_state=LinkState.PREPARING, is_visit=True, steps=(come_in_vain,)),
    Screen(
        name="link_preparing_failed",
        link_state=LinkState.PREPARING,
        is_visit=True,
        steps=(come_in_vain,),
        suffix="/check",
        form={},
        pause=60,
    ),
    Screen(name="link_waiting", link_state=LinkState.WAITING, is_visit=True, steps=(come(),)),
    Screen(name="link_waiting_plain", link_state=LinkState.WAITING, is_visit=True, steps=(come(),), link={}),
    Screen(name="link_waiting_long_address", link_state=LinkState.WAITING, is_visit=True, steps=(come("5"),)),
    Screen(
        name="link_waiting_listed",
        link_state=LinkState.WAITING,
        is_visit=True,
        steps=(come(), send("pay_exact"), send("pay_pending"), send("aml_fail")),
    ),
    Screen(
        name="link_waiting_told",
        link_state=LinkState.WAITING,
        is_visit=True,
        steps=(_TELL, come("4"), come(), send("pay_exact", visit=0)),
    ),
    Screen(
        name="link_waiting_unlisted",
        link_state=LinkState.WAITING,
        is_visit=True,
        steps=(come(), send("pay_exact")),
        link={"has_public_list": False},
    ),
    Screen(
        name="link_waiting_transfer_refused",
        link_state=LinkState.WAITING,
        is_visit=True,
        steps=(_TELL, come(), send("pay_dust")),
    ),
    Screen(name="link_waiting_unreachable", link_state=LinkState.WAITING, is_visit=True, steps=(come(), break_gateway)),
    Screen(
        name="link_waiting_stale_form",
        link_state=LinkState.WAITING,
        is_visit=True,
        steps=(come(), protect_forms),
        suffix="/check",
        form={},
    ),
    Screen(
        name="link_confirming",
        link_state=LinkState.CONFIRMING,
        is_visit=True,
        steps=(_TELL, come(), send("pay_pending")),
    ),
    Screen(
        name="link_under_review",
        link_state=LinkState.UNDER_REVIEW,
        is_visit=True,
        steps=(_TELL, come(), send("aml_fail")),
    ),
    Screen(
        name="link_received", link_state=LinkState.RECEIVED, is_visit=True, steps=(_TELL, come(), send("pay_exact"))
    ),
    Screen(
        name="link_received_and_refused",
        link_state=LinkState.RECEIVED,
        is_visit=True,
        steps=(_TELL, come(), send("pay_exact"), send("pay_dust")),
    ),
    Screen(name="link_refused", link_state=LinkState.REFUSED, is_visit=True, steps=(be_refused,)),
    Screen(name="link_closed", link_state=LinkState.CLOSED, steps=(close,)),
    Screen(
        name="link_closed_listed", link_state=LinkState.CLOSED, steps=(come(), send("pay_exact"), look_at_link, close)
    ),
    Screen(name="link_closed_visited", link_state=LinkState.CLOSED, is_visit=True, steps=(come(), close)),
)
"""Every screen that has words or a structure of its own, in the order of the state tables.

The plainest screen of a state comes first of all that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exhibit:
    """A prepared screen: the shop, and the page or the form that it is the answer to."""

    shop: Shop
    path: str
    form: Mapping[str, str] | None
    pause: int

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/":
            return self.shop.app(environ, start_response)

        self.shop.clock.advance(self.pause)

        def start_well(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            # A browser writes any other status into its console, where tests look for faults of the page.
            return start_response("200 OK", headers, exc_info)

        return self.shop.app(environ | self._make_request(), start_well)

    def _make_request(self) -> "WSGIEnvironment":
        is_get = self.form is None
        request = EnvironBuilder(self.path, method="GET" if is_get else "POST", data=self.form).get_environ()
        names = ("REQUEST_METHOD", "PATH_INFO", "CONTENT_TYPE", "CONTENT_LENGTH", "wsgi.input")
        # As the shop's own client says, so that whoever looks at the screen counts as the visitor of its steps.
        return {name: request[name] for name in names if name in request} | {"REMOTE_ADDR": "127.0.0.1"}


class Gallery:
    """A WSGI app with a room for each screen: the screen itself at its entrance, its shop behind it.

    ``dress`` changes every shop before anybody is in it, as a shop's own templates and styles do.
    """

    def __init__(self, folder: Path, *, dress: Step = lambda shop: None) -> None:
        self.base_url = ""
        self._folder = folder
        self._dress = dress
        self._exhibits: dict[str, _Exhibit] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        name, _, path = environ["PATH_INFO"].removeprefix("/").partition("/")
        if name not in self._exhibits:
            # Every browser asks a site for its icon, and one that got nothing says so in the console.
            answer = Response(status=204 if name == "favicon.ico" else 404)
            return answer(environ, start_response)
        return self._exhibits[name](environ | {"SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{path}"}, start_response)

    def url(self, screen: Screen) -> str:
        """The address at which a screen is shown."""
        if screen.name not in self._exhibits:
            self._exhibits[screen.name] = self._prepare(screen)
        return f"{self.base_url}/{screen.name}/"

    def shop(self, screen: Screen) -> Shop:
        """The shop behind a screen that was shown."""
        return self._exhibits[screen.name].shop

    def open(self, page: "Page", screen: Screen) -> None:
        """Show a screen in a browser."""
        page.goto(self.url(screen))
        if screen.press:
            page.locator(screen.press).click()

    def _prepare(self, screen: Screen) -> _Exhibit:
        shop = make_shop(self._folder / screen.name, **screen.config)
        self._dress(shop)
        path = self._make_path(shop, screen)
        return _Exhibit(shop=shop, path=path + screen.suffix, form=screen.form, pause=screen.pause)

    @staticmethod
    def _make_path(shop: Shop, screen: Screen) -> str:
        if screen.link_state is None:
            return prepare(shop, *screen.steps, method=screen.method, **screen.order)
        path = prepare_link(shop, *screen.steps, **screen.link)
        return shop.visits[-1] if screen.is_visit else path


@contextmanager
def showing(folder: Path, *, dress: Step = lambda shop: None) -> Iterator[Gallery]:
    """Serve every screen; ``folder`` is where the shops keep their sandboxes."""
    gallery = Gallery(folder, dress=dress)
    with serving(gallery) as gallery.base_url:
        yield gallery
