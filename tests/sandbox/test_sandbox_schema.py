"""Generated requests: whatever the contract allows, and much that it does not, gets a documented answer."""

from pathlib import Path

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flask_iterapay.sandbox.app import MERCHANT_ID

CONTRACT = yaml.safe_load((Path(__file__).parents[1] / "openapi" / "iterapay.yaml").read_text())
SCHEMA = schemathesis.openapi.from_dict(CONTRACT).exclude(operation_id=["archiveInvoice", "deleteInvoice"])
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.mark.parametrize(("dialect", "detail"), [("reference", "documented"), ("guide", "told")])
@SCHEMA.parametrize()
@settings(
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_generated_requests_get_documented_answers(case: Case, sandbox, dialect: str, detail: str) -> None:
    """No 5xx, and every answer fits the contract, in both dialects and for our own merchant and invoices."""
    sandbox.switch(dialect=dialect, transaction_detail=detail)
    known = {"merchantID": MERCHANT_ID, "invoiceID": sandbox.offered()}
    sandbox.press(known["invoiceID"], "pay_exact")
    case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
    response = case.call(app=sandbox.app, headers=sandbox.key | sandbox.bearer)
    case.validate_response(response, checks=CHECKS)
