"""The blueprint: which address leads to which function, and the headers that every answer carries."""

import contextvars
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, abort, current_app, request
from flask.blueprints import BlueprintSetupState
from flask_wtf.csrf import CSRFError, generate_csrf
from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from ..errors import LinkNotFoundError, OrderNotFoundError, StoreError, VisitNotFoundError
from . import checkout, links, problems
from .headers import protect
from .page import page_context
from .state import current_iterapay

__all__ = ["create_blueprint"]


_TEMPLATES = Path(__file__).with_name("templates")


def create_blueprint() -> Blueprint:
    """Make the blueprint, one for each ``IteraPay`` object. It keeps no state: views ask ``current_iterapay``.

    Its templates have two names: ``iterapay/...``, under which a shop may put its own, and ``flask_iterapay/...``,
    which is always the shipped one, so that the shop's can extend or include it.
    """
    blueprint = Blueprint("iterapay", __name__, static_folder="static", static_url_path="/static")
    blueprint.jinja_loader = ChoiceLoader(
        [FileSystemLoader(_TEMPLATES), PrefixLoader({"flask_iterapay": FileSystemLoader(_TEMPLATES / "iterapay")})]
    )
    blueprint.context_processor(page_context)
    blueprint.record_once(_let_overrides_extend_themselves)
    blueprint.get("/<token>", endpoint="checkout")(checkout.checkout)
    blueprint.post("/<token>", endpoint="choose_method")(checkout.choose_method)
    blueprint.post("/<token>/check", endpoint="check")(checkout.check)
    blueprint.get("/<token>/check", endpoint="leave_check")(checkout.leave_check)
    blueprint.get("/<token>/status", endpoint="status")(checkout.status)
    blueprint.get("/links/<address>", endpoint="link")(links.link)
    blueprint.post("/links/<address>", endpoint="begin_visit")(links.begin_visit)
    blueprint.get("/visits/<token>", endpoint="visit")(links.visit)
    blueprint.post("/visits/<token>/check", endpoint="check_visit")(links.check_visit)
    blueprint.get("/visits/<token>/check", endpoint="leave_check_visit")(links.leave_check_visit)
    blueprint.get("/visits/<token>/status", endpoint="visit_status")(links.visit_status)
    blueprint.route("/sandbox/<path:path>", methods=["GET", "POST"], endpoint="sandbox")(_sandbox)
    blueprint.register_error_handler(CSRFError, problems.on_csrf_error)
    for error in (NotFound, OrderNotFoundError, LinkNotFoundError, VisitNotFoundError):
        blueprint.register_error_handler(error, problems.not_found)
    blueprint.register_error_handler(StoreError, problems.on_store_error)
    blueprint.after_request(_add_headers)
    return blueprint


def _let_overrides_extend_themselves(state: BlueprintSetupState) -> None:
    """Give a shop's template that extends or includes its own name the shipped one, where it would never end."""
    environment = state.app.jinja_env
    join_path = environment.join_path

    def resolve(template: str, parent: str) -> str:
        is_own = template == parent and template.startswith("iterapay/")
        return f"flask_{template}" if is_own else join_path(template, parent)

    # The hook that Jinja has for this. A mistake in the template of a rare state would else be a customer's to find.
    environment.join_path = resolve  # type: ignore[method-assign]


def _add_headers(response: Response) -> Response:
    return protect(response, may_be_stored=(request.endpoint or "").endswith(".static"))


def _sandbox(path: str) -> WerkzeugResponse:
    """Hand a request to the sandbox's control panel; 404 unless the sandbox is switched on for this app."""
    sandbox = current_iterapay.sandbox
    if sandbox is None:
        abort(404)
    # Written anew, because the shop's CSRF protection has consumed the form by now.
    body = urlencode(list(request.form.items(multi=True))).encode()
    environ = request.environ | {
        "SCRIPT_NAME": _to_wsgi(request.root_path + request.path.removesuffix(f"/{path}")),
        "PATH_INFO": _to_wsgi(f"/{path}"),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        # The panel's forms are posted to this app, whose CSRF protection wants a token of its own making.
        "iterapay.csrf_field": current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"),
        "iterapay.csrf_token": generate_csrf(),
    }
    # In an empty context, so that the two apps do not see each other.
    response = contextvars.Context().run(WerkzeugResponse.from_app, sandbox, environ)
    if response.location:
        # A missing slash is corrected by an absolute URL on whatever host the request claims; only its path is ours.
        response.location = urlsplit(response.location)._replace(scheme="", netloc="").geturl()
    return response


def _to_wsgi(path: str) -> str:
    """Write a path as PEP 3333 wants it: its bytes, each as a character of Latin-1."""
    return path.encode().decode("latin-1")
