"""Settings are read strictly, all problems are told at once, and no secret is ever shown."""

import copy
import dataclasses
import json
import pickle
import re

import pytest
from flask import Flask

from flask_iterapay.config import (
    LANGUAGES,
    SANDBOX_API_KEY,
    SANDBOX_BASE_URL,
    SANDBOX_MERCHANT_ID,
    SANDBOX_WEBHOOK_SECRET,
    Settings,
)
from flask_iterapay.errors import ConfigurationError

SECRET = "canary-secret-of-thirty-two-characters"
OTHER_SECRET = "canary-other-secret-of-thirty-two-characters"
API_KEY = "canary-api-key"
COMPLETE = {
    "API_KEY": API_KEY,
    "MERCHANT_ID": "1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b",
    "WEBHOOK_SECRETS": SECRET,
    "PUBLIC_URL": "https://shop.example",
    "AML": "require",
    "DATABASE_URL": "postgresql://shop:canary-password@db/shop",
}


def read(values, *, is_development=False, has_store=False, has_client=False):
    """Read settings from unprefixed keys."""
    config = {f"ITERAPAY_{name}": value for name, value in values.items()}
    return Settings.from_config(config, is_development=is_development, has_store=has_store, has_client=has_client)


def problems(values, **circumstances):
    """Give the keys that are complained about, each with what is said of it."""
    with pytest.raises(ConfigurationError) as caught:
        read(values, **circumstances)
    return dict(problem.removeprefix("ITERAPAY_").split(" ", 1) for problem in caught.value.problems)


def without(*names):
    """Give a complete configuration but for some keys."""
    return {name: value for name, value in COMPLETE.items() if name not in names}


def test_a_complete_configuration_has_defaults_for_the_rest():
    """What is neither set nor required has the documented default."""
    assert read(COMPLETE) == Settings(
        api_key=API_KEY,
        merchant_id="1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b",
        webhook_secrets=(SECRET,),
        base_url="https://api.iterapay.com",
        public_url="https://shop.example",
        database_url="postgresql://shop:canary-password@db/shop",
        is_sandbox=False,
        is_sandbox_allowed_anywhere=False,
        auth="api_key",
        aml="require",
        aml_wait_seconds=1800,
        accept_late_seconds=3600,
        sync_seconds=15,
        watch_seconds=604800,
        support_url=None,
        methods=None,
        return_origins=(),
        reconcile_seconds=None,
        languages=LANGUAGES,
        return_seconds=None,
        qr_uris={},
        addresses_per_hour=30,
        parallel_reads=8,
    )


def test_everything_that_is_missing_is_told_at_once():
    """One start names every key that production requires, and nothing else."""
    assert problems({}).keys() == COMPLETE.keys()
    assert problems(dict.fromkeys(COMPLETE)).keys() == COMPLETE.keys()


def test_the_message_on_aml_explains_both_values():
    """The merchant is told what there is to choose from."""
    message = problems(without("AML"))["AML"]
    assert '"require"' in message
    assert '"unless_failed"' in message
    assert "merchant can choose" in message


@pytest.mark.parametrize(
    ("circumstances", "required"),
    [
        ({"is_development": True}, {"API_KEY", "MERCHANT_ID", "WEBHOOK_SECRETS"}),
        ({"is_development": True, "has_client": True}, {"WEBHOOK_SECRETS"}),
        ({"has_client": True}, {"WEBHOOK_SECRETS", "PUBLIC_URL", "AML", "DATABASE_URL"}),
        ({"has_store": True}, {"API_KEY", "MERCHANT_ID", "WEBHOOK_SECRETS", "PUBLIC_URL", "AML"}),
    ],
    ids=["development", "development with a client", "with a client", "with a store"],
)
def test_what_is_required_depends_on_what_is_there(circumstances, required):
    """Development, a store and a client handed in each make some keys needless."""
    assert problems({}, **circumstances).keys() == required


def test_the_sandbox_takes_no_client_of_the_live_gateway():
    """A page that says TEST MODE must never lead to real money."""
    assert "SANDBOX" in problems({"SANDBOX": True}, is_development=True, has_client=True)


def test_the_key_of_the_sandbox_is_refused_in_production():
    """Everybody knows it; a sandbox server of one's own is for development."""
    assert "API_KEY" in problems({**COMPLETE, "API_KEY": SANDBOX_API_KEY})
    assert read({**COMPLETE, "API_KEY": SANDBOX_API_KEY}, is_development=True).api_key == SANDBOX_API_KEY


def test_development_has_defaults_for_what_production_must_choose():
    """In debug and testing AML is required of the money, and the rest may stay open."""
    settings = read(without("AML", "PUBLIC_URL", "DATABASE_URL"), is_development=True)
    assert (settings.aml, settings.public_url, settings.database_url) == ("require", None, None)


def test_a_client_of_its_own_needs_no_key():
    """Without key and merchant the settings carry empty ones."""
    settings = read(without("API_KEY", "MERCHANT_ID"), has_client=True)
    assert (settings.api_key, settings.merchant_id) == ("", "")


def test_every_wrong_value_is_told_beside_what_is_missing():
    """Missing, unknown and wrong keys are reported together."""
    values = {**without("AML"), "METHODS": [], "SYNC_SECONDS": "soon", "METHOD": 1}
    assert problems(values).keys() == {"AML", "METHODS", "SYNC_SECONDS", "METHOD"}


@pytest.mark.parametrize("value", [True, 1, "1", "true", "True", "TRUE"])
def test_a_switch_is_on(value):
    """The words and numbers that mean yes."""
    assert read({"SANDBOX": value}, is_development=True).is_sandbox


@pytest.mark.parametrize("value", [False, 0, "0", "false", "False", "FALSE", None])
def test_a_switch_is_off(value):
    """The words and numbers that mean no."""
    assert not read({**COMPLETE, "SANDBOX": value}).is_sandbox


@pytest.mark.parametrize("value", ["", "yes", "on", "2", 2, -1, 1.0, 0.0, [], [True], "truee", " true"])
def test_a_switch_takes_nothing_else(value):
    """Whatever is not plainly yes or no is refused, so that nothing is switched by accident."""
    assert problems({**COMPLETE, "SANDBOX": value}).keys() == {"SANDBOX"}


@pytest.mark.parametrize("name", ["API_KEY", "MERCHANT_ID", "WEBHOOK_SECRETS", "DATABASE_URL", "PUBLIC_URL"])
@pytest.mark.parametrize("value", [86423197, 1.5e20, True, {}, [8.64e30]], ids=str)
def test_a_text_that_became_something_else_is_refused_by_name(name, value):
    """A secret that JSON made a number of is not turned back, for its digits may be lost; the message says to quote."""
    message = problems({**COMPLETE, name: value})[name]
    assert "quote it" in message
    assert not re.search(r"864|1\.5", message)


@pytest.mark.parametrize(
    "name", ["API_KEY", "MERCHANT_ID", "WEBHOOK_SECRETS", "DATABASE_URL", "PUBLIC_URL", "SUPPORT_URL"]
)
@pytest.mark.parametrize("value", ["", " ", "\t", f" {SECRET}", f"{SECRET}\n"], ids=ascii)
def test_a_blank_text_is_refused(name, value):
    """A value that is set to nothing, or has blanks around it, is a mistake and not a default."""
    assert problems({**COMPLETE, name: value}).keys() == {name}


@pytest.mark.parametrize("value", ["key with blanks", "clé", "key\r\nX-Injected: 1", "key\0"])
def test_an_api_key_fits_into_a_header(value):
    """Nothing that a header cannot carry is a key."""
    assert problems({**COMPLETE, "API_KEY": value}).keys() == {"API_KEY"}


@pytest.mark.parametrize("value", ["../admin", "a/b", "a?b", "%2e%2e", "a b", "x" * 65])
def test_a_merchant_id_fits_into_a_path(value):
    """Nothing that could change a path is a merchant's id."""
    assert problems({**COMPLETE, "MERCHANT_ID": value}).keys() == {"MERCHANT_ID"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SECRET, (SECRET,)),
        ([SECRET, OTHER_SECRET], (SECRET, OTHER_SECRET)),
        ((OTHER_SECRET, SECRET), (OTHER_SECRET, SECRET)),
        (json.dumps([SECRET, OTHER_SECRET]), (SECRET, OTHER_SECRET)),
        ("x" * 32, ("x" * 32,)),
    ],
)
def test_webhook_secrets_come_alone_or_as_a_list(value, expected):
    """One text, a list, or a JSON list, whose order stays."""
    assert read({**COMPLETE, "WEBHOOK_SECRETS": value}).webhook_secrets == expected


@pytest.mark.parametrize(
    "value",
    [
        "x" * 31,
        f"{SECRET},{OTHER_SECRET}",
        [SECRET, "short"],
        [SECRET, ""],
        [SECRET, " " * 32],
        [SECRET, None],
        [SECRET, 12345678901234567890123456789012],
        [[SECRET]],
        [SECRET, f"{OTHER_SECRET},"],
        [SECRET, SECRET],
        [],
        "[]",
        f"[{SECRET}]",
        f'["{SECRET}"',
        {"secret": SECRET},
        SANDBOX_WEBHOOK_SECRET,
        [SECRET, SANDBOX_WEBHOOK_SECRET],
    ],
    ids=repr,
)
def test_a_weak_or_doubtful_webhook_secret_is_refused(value):
    """Short, blank, doubled, comma-ridden, well-known and unreadable secrets stop the start, anywhere in the list."""
    assert problems({**COMPLETE, "WEBHOOK_SECRETS": value}).keys() == {"WEBHOOK_SECRETS"}


@pytest.mark.parametrize("name", ["BASE_URL", "PUBLIC_URL"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("https://shop.example:8443/under/", "https://shop.example:8443/under"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
    ],
)
def test_a_url_is_taken_without_its_last_slash(name, value, expected):
    """Absolute https URLs are taken, and http on loopback."""
    settings = read({**COMPLETE, name: value})
    assert getattr(settings, name.lower()) == expected


@pytest.mark.parametrize("name", ["BASE_URL", "PUBLIC_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "shop.example",
        "//shop.example",
        "/pay",
        "ftp://shop.example",
        "javascript:alert(1)",
        "https://",
        "https:///pay",
        "https://user@shop.example",
        "https://user:password@shop.example",
        "https://shop.example?",
        "https://shop.example/?a=b",
        "https://shop.example/#top",
        "https://shop.example:port",
        "https://shop.example\\@evil.example",
        "https://shop example",
        "https://shöp.example",
        "https://shop.example/\nX",
        "http://shop.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
    ],
)
def test_a_url_that_could_mislead_is_refused(name, value):
    """Relative, insecure and credential-bearing URLs are refused, and none is repeated in the message."""
    found = problems({**COMPLETE, name: value})
    assert found.keys() == {name}
    assert value not in found[name]


def test_development_may_be_served_without_tls():
    """In debug and testing the shop may be plain http; the gateway may not."""
    url = "http://shop.test:8000"
    assert read({**COMPLETE, "PUBLIC_URL": url}, is_development=True).public_url == url
    assert problems({**COMPLETE, "BASE_URL": url}, is_development=True).keys() == {"BASE_URL"}


@pytest.mark.parametrize(
    "value", ["https://shop.example/help?from=pay#top", "mailto:help@shop.example", "http://s.example"]
)
def test_a_support_link_leads_anywhere_people_can_write(value):
    """Pages and mail addresses are taken as they are."""
    assert read({**COMPLETE, "SUPPORT_URL": value}).support_url == value


@pytest.mark.parametrize(
    "value", ["javascript:alert(1)", "data:text/html,x", "/help", "help@shop.example", "mailto:help"]
)
def test_a_support_link_is_nothing_that_runs(value):
    """Scripts and relative links are refused."""
    assert problems({**COMPLETE, "SUPPORT_URL": value}).keys() == {"SUPPORT_URL"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ("1",)),
        ("1", ("1",)),
        ("3, 1,usdt-tron", ("3", "1", "usdt-tron")),
        ([3, "1"], ("3", "1")),
        ('[3, "1"]', ("3", "1")),
        (["a,b"], ("a,b",)),
        ("1,1", ("1",)),
        (None, None),
    ],
)
def test_methods_come_in_every_form_of_a_list(value, expected):
    """Numbers and texts, alone or as a list, as JSON or with commas, keep their order."""
    assert read({**COMPLETE, "METHODS": value}).methods == expected


@pytest.mark.parametrize(
    "value", ["", ",", "1,,2", [], "[]", "[1", True, [True], 1.5, [1.5], {}, [None], [[1]]], ids=repr
)
def test_methods_that_name_nothing_are_refused(value):
    """An allow-list with holes, or of nothing, would leave customers without a way to pay."""
    assert problems({**COMPLETE, "METHODS": value}).keys() == {"METHODS"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://blog.example", ("https://blog.example",)),
        ("https://Blog.example:443/, http://localhost:3000", ("https://blog.example", "http://localhost:3000")),
        (["https://a.example:8443", "https://a.example:8443/"], ("https://a.example:8443",)),
        ('["http://127.0.0.1:80"]', ("http://127.0.0.1",)),
    ],
)
def test_return_origins_are_written_as_browsers_do(value, expected):
    """Lower case, without the scheme's own port, and each once."""
    assert read({**COMPLETE, "RETURN_ORIGINS": value}).return_origins == expected


@pytest.mark.parametrize(
    "value", ["*", "null", "https://*.example", "https://a.example/path", "http://a.example", 1, ""]
)
def test_return_origins_are_exact(value):
    """Wildcards, paths and insecure origins are refused."""
    assert problems({**COMPLETE, "RETURN_ORIGINS": value}).keys() == {"RETURN_ORIGINS"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, {}),
        ({4: "bitcoin:{address}"}, {"4": "bitcoin:{address}"}),
        ({"4": "BITCOIN:{address}?amount={pay_amount}"}, {"4": "BITCOIN:{address}?amount={pay_amount}"}),
        ('{"5": "ethereum:{address}@1?value={pay_amount}e18"}', {"5": "ethereum:{address}@1?value={pay_amount}e18"}),
        ({"usdt-ton": "ton://transfer/{address}?x=1#y"}, {"usdt-ton": "ton://transfer/{address}?x=1#y"}),
    ],
)
def test_qr_uris_belong_to_payment_methods(value, expected):
    """A mapping or a JSON object, from ids to URIs with the address right after the scheme."""
    assert read({**COMPLETE, "QR_URIS": value}).qr_uris == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        1,
        None,
        ["bitcoin:{address}"],
        "{address}",
        "bitcoin{address}",
        ":{address}",
        "1:{address}",
        "bitcoin:",
        "bitcoin:{address}{address}",
        "bitcoin:{address}?amount={pay_amount}{pay_amount}",
        "bitcoin:{pay_amount}{address}",
        "bitcoin:{ADDRESS}",
        "bitcoin:{address}?amount={amount}",
        "bitcoin:{address}?label={",
        "bitcoin:{address}?label=}",
        "bitcoin:{address!r}",
        "bitcoin:{address.__class__}",
        "bitcoin: {address}",
        "bitcoin:{address}\n",
        "bitcoin:{address}?label=café",
        "ethereum:0xdAC17F958D2ee523a2206206994597C13D831ec7/transfer?address={address}",
        "ton://{address}",
        "bitcoin:%s",
    ],
    ids=ascii,
)
def test_a_qr_uri_that_could_send_money_elsewhere_is_refused(uri):
    """Another address before ours, another field, and whatever a wallet would stumble over stop the start."""
    found = problems({**COMPLETE, "QR_URIS": {"1": "tron:{address}", "4": uri}})
    assert found.keys() == {"QR_URIS"}


@pytest.mark.parametrize(
    "value",
    [
        *("", "bitcoin:{address}", '{"4": ', '{"4": 4}', "[]", [], True, 4, '{"a":' * 100_000),
        *({key: "bitcoin:{address}"} for key in ("", " 4", None, True, 1.5, ("4",))),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_qr_uris_are_nothing_but_a_mapping(value):
    """What has no ids, or none that a method could have, is refused."""
    assert problems({**COMPLETE, "QR_URIS": value}).keys() == {"QR_URIS"}


@pytest.mark.parametrize(("name", "value"), [("AML", "unless_failed"), ("AUTH", "bearer")])
def test_a_choice_is_one_of_its_words(name, value):
    """Each word is taken, and any other is refused with the list of them."""
    assert getattr(read({**COMPLETE, name: value}), name.lower()) == value
    for wrong in ("", value.upper(), f"{value} ", 1, True, [value]):
        assert value in problems({**COMPLETE, name: wrong})[name]


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("AML_WAIT_SECONDS", 0, 604800),
        ("ACCEPT_LATE_SECONDS", 0, 604800),
        ("SYNC_SECONDS", 1, 600),
        ("WATCH_SECONDS", 3600, 31536000),
    ],
)
def test_seconds_are_whole_and_in_range(name, lowest, highest):
    """Integers and their digits are taken up to both ends of the range, and nothing else."""
    for value in (lowest, highest):
        assert getattr(read({**COMPLETE, name: value}), name.lower()) == value
        assert getattr(read({**COMPLETE, name: str(value)}), name.lower()) == value
    for wrong in (
        lowest - 1,
        highest + 1,
        3600.5,
        "3600.5",
        "1e3",
        "",
        "-1",
        "+1",
        "1_0",
        "３６００",
        True,
        [3600],
        "9" * 5000,
    ):
        message = problems({**COMPLETE, name: wrong})[name]
        assert f"from {lowest} to {highest}" in message


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("WEBHOOK_SECRET", "WEBHOOK_SECRETS"),
        ("APIKEY", "API_KEY"),
        ("MERCHANT", "MERCHANT_ID"),
        ("SANBDOX", "SANDBOX"),
        ("XYZZY", None),
    ],
)
def test_a_misspelled_key_is_told(name, suggestion):
    """An unknown key stops the start, with the key that was probably meant, and without its value."""
    message = problems({**COMPLETE, name: SECRET})[name]
    assert message == (f"is unknown; did you mean ITERAPAY_{suggestion}?" if suggestion else "is unknown")


def test_keys_of_others_are_left_alone():
    """Nothing but our own prefix is looked at."""
    config = {f"ITERAPAY_{name}": value for name, value in COMPLETE.items()}
    config |= {"SECRET_KEY": "x", "ITERAPAYMENTS": 1, "OTHER_ITERAPAY_KEY": 1}
    assert Settings.from_config(config, is_development=False, has_store=False, has_client=False) == read(COMPLETE)


@pytest.mark.parametrize("circumstances", [{"is_development": True}, {"anywhere": True}], ids=str)
def test_the_sandbox_needs_nothing_else(circumstances):
    """Switched on where it may be, the sandbox brings all that it needs."""
    is_anywhere = "anywhere" in circumstances
    settings = read({"SANDBOX": True, "SANDBOX_ALLOW_ANYWHERE": is_anywhere}, is_development=not is_anywhere)
    assert settings.is_sandbox
    assert settings.is_sandbox_allowed_anywhere is is_anywhere
    assert (settings.base_url, settings.merchant_id) == (SANDBOX_BASE_URL, SANDBOX_MERCHANT_ID)
    assert (settings.api_key, settings.webhook_secrets) == (SANDBOX_API_KEY, (SANDBOX_WEBHOOK_SECRET,))
    assert (settings.aml, settings.public_url, settings.database_url) == ("require", None, None)


def test_the_sandbox_takes_what_a_shop_sets_all_the_same():
    """Secrets, AML, public URL and database may be set in the sandbox too."""
    chosen = {**without("API_KEY", "MERCHANT_ID"), "AML": "unless_failed", "PUBLIC_URL": "http://shop.test"}
    settings = read({**chosen, "SANDBOX": "1"}, is_development=True)
    assert (settings.webhook_secrets, settings.aml) == ((SECRET,), "unless_failed")
    assert (settings.public_url, settings.database_url) == ("http://shop.test", COMPLETE["DATABASE_URL"])


def test_the_sandbox_is_refused_in_production():
    """Outside debug and testing the sandbox needs a second, explicit switch, which the message names."""
    assert "ITERAPAY_SANDBOX_ALLOW_ANYWHERE" in problems({"SANDBOX": True})["SANDBOX"]


@pytest.mark.parametrize("name", ["API_KEY", "MERCHANT_ID", "BASE_URL"])
def test_the_sandbox_is_refused_beside_a_real_account(name):
    """A key, merchant or gateway of one's own beside the sandbox is a mistake that could cost money."""
    values = {"API_KEY": API_KEY, "MERCHANT_ID": "1", "BASE_URL": "https://api.iterapay.com"}
    assert problems({"SANDBOX": True, name: values[name]}, is_development=True).keys() == {name}


def test_environment_variables_arrive_as_flask_reads_them(monkeypatch):
    """Values that went through the environment and Flask's JSON mean what they say."""
    environment = {
        **COMPLETE,
        "WEBHOOK_SECRETS": json.dumps([SECRET, OTHER_SECRET]),
        "SYNC_SECONDS": "30",
        "METHODS": "3",
        "SANDBOX": "False",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"FLASK_ITERAPAY_{name}", value)
    app = Flask(__name__)
    app.config.from_prefixed_env()
    settings = Settings.from_config(app.config, is_development=False, has_store=False, has_client=False)
    assert settings == read({**COMPLETE, "WEBHOOK_SECRETS": [SECRET, OTHER_SECRET], "SYNC_SECONDS": 30, "METHODS": "3"})


def test_secrets_are_not_shown():
    """Neither repr nor str of the settings has a key, a secret or a database URL in it."""
    settings = read(COMPLETE)
    assert "canary" not in repr(settings) + str(settings) + f"{settings}"
    assert "https://shop.example" in repr(settings)


@pytest.mark.parametrize(
    "name", ["API_KEY", "MERCHANT_ID", "WEBHOOK_SECRETS", "DATABASE_URL", "BASE_URL", "METHODS", "QR_URIS"]
)
def test_no_value_is_repeated_in_a_message(name):
    """A secret in the wrong place or the wrong form is not in what goes to the log."""
    for value in ("canary value,", ["canary value,", 1.5], {"canary": 1}, "[canary", f" {SECRET}"):
        found = problems({**COMPLETE, "METHODS": "", name: value, "CANARY": value})
        assert "canary" not in json.dumps(found)


@pytest.mark.parametrize("copy_", [pickle.dumps, copy.copy, copy.deepcopy])
def test_settings_are_not_pickled(copy_):
    """No cache, queue or crash report takes the secrets along."""
    with pytest.raises(TypeError, match="secrets"):
        copy_(read(COMPLETE))


def test_settings_are_frozen():
    """Nothing changes the settings once they are read."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        read(COMPLETE).aml = "unless_failed"
