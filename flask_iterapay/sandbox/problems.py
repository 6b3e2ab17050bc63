"""Errors as the documentation shows them: RFC 7807 problems with all five fields (contract 1.0)."""

from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from .dialects import format_json

__all__ = ["answer_error", "answer_problem"]

_KINDS = {
    400: ("invalid-request", "Invalid Request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not-found", "Not Found"),
}


def answer_problem(status: int, detail: str) -> Response:
    """Answer the present request with a problem."""
    name = HTTP_STATUS_CODES[status]
    kind, title = _KINDS.get(status, (name.lower().replace(" ", "-"), name))
    problem = {
        "type": f"https://example.com/probs/{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": quote(request.path),
    }
    return Response(format_json(problem), status, mimetype="application/problem+json")


def answer_error(error: HTTPException) -> Response:
    """Answer with what Flask raised, keeping headers such as ``Allow``."""
    response = answer_problem(error.code or 500, error.description or error.name)
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)
    return response
