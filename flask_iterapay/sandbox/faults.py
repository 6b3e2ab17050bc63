"""Answers that go wrong on purpose."""

from flask import Response

from .problems import answer_problem
from .settings import ApiFault

__all__ = ["FAULT_HEADER", "answer_fault"]

FAULT_HEADER = "X-Sandbox-Fault"
"""``timeout`` in it asks the in-process transport to time out instead of answering."""

_OVERSIZED_BYTES = 8 * 1024 * 1024
_RETRY_AFTER_SECONDS = "7"
_PROBLEMS = {
    ApiFault.UNAUTHORIZED: (401, "The API key has expired", {}),
    ApiFault.FORBIDDEN: (403, "The API key belongs to another merchant", {}),
    ApiFault.RATE_LIMITED: (429, "Too many requests", {}),
    ApiFault.RATE_LIMITED_RETRY_AFTER: (429, "Too many requests", {"Retry-After": _RETRY_AFTER_SECONDS}),
    ApiFault.SERVER_ERROR: (500, "Something went wrong", {}),
    ApiFault.UNAVAILABLE: (503, "Down for maintenance", {}),
    # A server of its own cannot time out for its client: there, the gateway in front of it says so.
    ApiFault.TIMEOUT: (504, "No answer came in time", {FAULT_HEADER: "timeout"}),
    ApiFault.LOST_ANSWER: (504, "No answer came in time", {FAULT_HEADER: "timeout"}),
}


def answer_fault(fault: ApiFault) -> Response:
    """Answer the present request with a fault."""
    match fault:
        case ApiFault.GARBAGE:
            return Response(b'{"id": \xff', mimetype="application/json")
        case ApiFault.HTML:
            return Response("<!doctype html><title>Please log in</title><h1>Please log in</h1>", mimetype="text/html")
        case ApiFault.OVERSIZED:
            return Response(b"[" + b" " * _OVERSIZED_BYTES + b"]", mimetype="application/json")
        case ApiFault.REDIRECT:
            return Response(status=307, headers={"Location": "https://elsewhere.invalid/"})
    status, detail, headers = _PROBLEMS[fault]
    response = answer_problem(status, detail)
    response.headers.update(headers)
    return response
