"""The object that a shop holds: set-up, isolation of apps, handlers, and the public methods."""

from datetime import UTC

import pytest
from flask import Flask, g, has_request_context, request
from shops import Shop
from worlds import Timepiece

from flask_iterapay import (
    ConfigurationError,
    InvalidOrderError,
    IteraPay,
    NotInitialisedError,
    OrderNotFoundError,
    OrderNotOnHoldError,
    OrderStatus,
)
from flask_iterapay.orders.stores.memory import MemoryStore

PRODUCTION = {
    "SECRET_KEY": "a secret key",
    "ITERAPAY_API_KEY": "a-canary-key",
    "ITERAPAY_MERCHANT_ID": "11111111-1111-4111-8111-111111111111",
    "ITERAPAY_WEBHOOK_SECRETS": "a-webhook-secret-of-at-least-32-characters",
    "ITERAPAY_PUBLIC_URL": "https://shop.example",
    "ITERAPAY_AML": "require",
    "ITERAPAY_DATABASE_URL": "sqlite:///never-opened.sqlite3",
}


def production_app(**config: object) -> Flask:
    app = Flask("shop")
    app.config.update(PRODUCTION)
    app.config.update(config)
    return app


class TestStart:
    def test_production_refuses_to_start_with_everything_in_one_message(self):
        """A merchant repairs the configuration in one round."""
        with pytest.raises(ConfigurationError) as caught:
            IteraPay(Flask("shop"))
        for key in ("SECRET_KEY", *(key for key in PRODUCTION if key.startswith("ITERAPAY_"))):
            assert key in str(caught.value)

    def test_production_with_everything_starts(self):
        """What the message asked for is enough."""
        IteraPay(production_app())

    @pytest.mark.parametrize("value", [False, "False", "false", "0", 0])
    def test_a_sandbox_that_is_switched_off_is_off(self, value):
        """FLASK_ITERAPAY_SANDBOX=False arrives as text or as a boolean, and means no."""
        app = production_app(ITERAPAY_SANDBOX=value)
        IteraPay(app)
        assert app.extensions["iterapay"].sandbox is None

    def test_the_environment_switches_the_sandbox_off(self, monkeypatch):
        """The same by way of Flask's own reading of the environment."""
        monkeypatch.setenv("FLASK_ITERAPAY_SANDBOX", "False")
        app = production_app()
        app.config.from_prefixed_env()
        IteraPay(app)
        assert app.extensions["iterapay"].sandbox is None

    def test_the_sandbox_refuses_production(self):
        """Nobody sells on play money by accident."""
        app = Flask("shop")
        app.config.update(SECRET_KEY="key", ITERAPAY_SANDBOX=True)
        with pytest.raises(ConfigurationError, match="ITERAPAY_SANDBOX"):
            IteraPay(app)

    def test_the_memory_store_refuses_production(self):
        """A store that forgets is for tests."""
        with pytest.raises(ConfigurationError, match="memory store"):
            IteraPay(production_app(ITERAPAY_DATABASE_URL=None), store=MemoryStore())
        app = production_app(TESTING=True)
        IteraPay(app, store=MemoryStore())

    def test_init_app_twice_is_refused(self):
        """Two set-ups of one app would fight."""
        iterapay = IteraPay(app := production_app())
        with pytest.raises(ConfigurationError, match="twice"):
            iterapay.init_app(app)

    def test_a_missing_registration_is_named(self):
        """Both things that one can forget are said in words."""
        iterapay = IteraPay()
        app = production_app(TESTING=True, ITERAPAY_DATABASE_URL=None)
        with app.app_context(), pytest.raises(NotInitialisedError, match="init_app"):
            iterapay.place_order("1042", amount=1)
        iterapay.init_app(app, store=MemoryStore())
        with app.app_context():
            order = iterapay.place_order("1042", amount=1)
            with pytest.raises(NotInitialisedError, match="register"):
                iterapay.checkout_url(order)

    def test_the_clock_is_utc_unless_another_is_handed_in(self):
        """Times are aware, whoever makes them."""
        IteraPay(app := production_app(TESTING=True), store=MemoryStore())
        assert app.extensions["iterapay"].clock().tzinfo is UTC

    @pytest.mark.parametrize("fallbacks", ["the-old-secret-key", [""], [None], 7])
    def test_fallback_keys_that_anybody_could_guess_are_refused(self, fallbacks):
        """A string would be a list of letters, each good to forge a payment page with."""
        with pytest.raises(ConfigurationError, match="SECRET_KEY_FALLBACKS"):
            IteraPay(production_app(SECRET_KEY_FALLBACKS=fallbacks))

    def test_links_signed_with_an_older_key_still_open(self, tmp_path):
        """Rotation of the app's own key does not break the links in yesterday's mails."""
        (tmp_path / "old").mkdir()
        token = Shop(tmp_path / "old", SECRET_KEY="old").state.tokens.sign("1042")
        shop = Shop(tmp_path, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
        shop.place()
        assert shop.client.get(f"/pay/{token}").status_code == 200
        assert Shop(tmp_path / "old", SECRET_KEY="new").client.get(f"/pay/{token}").status_code == 404

    def test_play_money_never_pays_an_order_of_the_live_shop(self, tmp_path):
        """The sandbox keeps its orders apart, even in the same database."""
        url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
        sandbox = Shop(tmp_path, ITERAPAY_DATABASE_URL=url)
        sandbox.state.store.create_tables()
        sandbox.place()
        live = production_app(ITERAPAY_DATABASE_URL=url)
        iterapay = IteraPay(live)
        with live.app_context(), pytest.raises(OrderNotFoundError):
            iterapay.get_order("1042")

    def test_a_subdomain_is_refused_by_name(self, tmp_path):
        """No link is built that leads nowhere."""
        iterapay = IteraPay()
        app = production_app(TESTING=True, SERVER_NAME="shop.example")
        iterapay.init_app(app, store=MemoryStore())
        app.register_blueprint(iterapay.blueprint, subdomain="pay")
        with app.app_context():
            order = iterapay.place_order("1042", amount=1)
            with pytest.raises(NotInitialisedError, match="subdomain"):
                iterapay.checkout_url(order)

    def test_what_the_constructor_was_given_is_used(self):
        """Store and clock may be handed to the constructor instead of init_app."""
        store, clock = MemoryStore(), Timepiece()
        iterapay = IteraPay(store=store, clock=clock)
        iterapay.init_app(app := production_app(TESTING=True))
        with app.app_context():
            assert iterapay.place_order("1042", amount=1).created_at == clock()
        assert store.get("order:1042")

    def test_secrets_never_show(self):
        """Neither the state nor the settings tell a secret."""
        IteraPay(app := production_app())
        text = repr(app.extensions["iterapay"])
        assert PRODUCTION["ITERAPAY_WEBHOOK_SECRETS"] not in text
        assert "canary" not in text


class TestIsolation:
    def test_one_object_serves_two_apps_that_do_not_see_each_other(self, tmp_path):
        """Orders, stores and sandboxes belong to an app."""
        iterapay = IteraPay()
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        one = Shop(tmp_path / "a", iterapay=iterapay)
        two = Shop(tmp_path / "b", iterapay=iterapay, url_prefix="/other")
        path = one.place()
        assert path.startswith("/pay/")
        assert one.client.get(path).status_code == 200
        assert two.client.get(path.replace("/pay/", "/other/")).status_code == 404
        with two.app.app_context(), pytest.raises(OrderNotFoundError):
            iterapay.get_order("1042")

    def test_two_objects_in_one_process_keep_their_handlers_apart(self, tmp_path):
        """A handler hears only of its own shop."""
        shops = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            shops.append(Shop(tmp_path / name))
        shops[0].choose(shops[0].place())
        shops[0].act("pay_exact")
        with shops[0].app.app_context():
            shops[0].iterapay.sync("1042")
        assert [len(shop.heard) for shop in shops] == [1, 0]


class TestHandlers:
    def test_an_unknown_event_is_refused(self):
        """A typing error must not cost a shipment."""
        with pytest.raises(ConfigurationError, match=r"order\.paid"):
            IteraPay().on("order.payed")

    def test_two_handlers_of_one_name_are_refused(self):
        """Their successes could not be told apart."""
        iterapay = IteraPay()

        @iterapay.on("order.paid")
        def ship(event): ...

        with pytest.raises(ConfigurationError, match="ship"):
            iterapay.on("order.paid")(ship)
        assert iterapay.on("order.expired")(ship) is ship

    def test_a_handler_runs_without_the_request_and_in_a_fresh_app_context(self, tmp_path):
        """It shares neither the request nor what the request left in g."""
        shop = Shop(tmp_path)
        seen = []

        @shop.iterapay.on("order.cancelled")
        def look(event):
            seen.append((has_request_context(), "user" in g))
            g.user = "left behind"

        @shop.app.post("/cancel")
        def cancel():
            g.user = "customer"
            shop.iterapay.cancel_order("1042")
            seen.append(request.path)
            return "done"

        shop.place()
        assert shop.client.post("/cancel", buffered=True).text == "done"
        assert seen == ["/cancel", (False, False)]

    def test_outside_a_request_handlers_run_at_once(self, shop_without_request):
        """A command or a job has no response to wait for."""
        shop, seen = shop_without_request
        with shop.app.app_context():
            shop.iterapay.cancel_order("1042")
        assert seen == ["order.cancelled"]


@pytest.fixture
def shop_without_request(tmp_path):
    shop, seen = Shop(tmp_path), []
    shop.iterapay.on("order.cancelled")(lambda event: seen.append(event.name))
    shop.place()
    return shop, seen


class TestPublicMethods:
    def test_links_are_paths_or_built_on_the_public_url(self, tmp_path):
        """No Host header ever makes a link."""
        shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL="https://shop.example/base")
        shop.place()
        with shop.app.test_request_context("/", base_url="https://evil.example/mount"):
            order = shop.iterapay.get_order("1042")
            assert shop.iterapay.checkout_url(order).startswith("/mount/pay/")
            assert shop.iterapay.checkout_url(order, is_external=True).startswith("https://shop.example/base/pay/")

    def test_an_absolute_link_needs_the_public_url(self, tmp_path):
        """Nothing is guessed."""
        shop = Shop(tmp_path)
        shop.place()
        with shop.app.app_context():
            order = shop.iterapay.get_order("1042")
            if shop.state.settings.public_url is None:
                with pytest.raises(ConfigurationError, match="ITERAPAY_PUBLIC_URL"):
                    shop.iterapay.checkout_url(order, is_external=True)

    def test_return_urls_are_checked_when_they_are_stored(self, tmp_path):
        """No page can be made to send a customer elsewhere."""
        shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL="https://shop.example", ITERAPAY_RETURN_ORIGINS="https://www.example")
        for number, url in enumerate(["/thanks", "https://shop.example/thanks", "https://www.example/"]):
            shop.place(str(number), return_url=url)
            assert shop.order(str(number)).return_url == url
        with pytest.raises(InvalidOrderError):
            shop.place("9", return_url="https://evil.example/")

    def test_a_person_resolves_a_hold(self, tmp_path):
        """Through the same object, and the handlers hear of it."""
        shop = Shop(tmp_path)
        shop.choose(shop.place())
        shop.act("aml_fail")
        with shop.app.app_context():
            assert shop.iterapay.sync("1042").status is OrderStatus.ON_HOLD
            order = shop.iterapay.resolve_hold("1042", is_accepted=True, actor="ana", note="known customer")
            assert order.status is OrderStatus.PAID
            with pytest.raises(OrderNotOnHoldError):
                shop.iterapay.resolve_hold("1042", is_accepted=True, actor="ana")
        assert [event.key for event in shop.heard] == ["order.paid:1042"]


def test_the_sandbox_takes_the_key_as_a_bearer_token_too(tmp_path):
    """ITERAPAY_AUTH=bearer can be tried before it is needed."""
    shop = Shop(tmp_path, ITERAPAY_AUTH="bearer")
    shop.choose(shop.place())
    assert shop.order().status is OrderStatus.AWAITING_PAYMENT
