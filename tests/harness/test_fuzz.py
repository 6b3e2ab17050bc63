"""A fuzzer that follows the branches of the code, on everything that reads what strangers send."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from sources import ROOT

pytestmark = [
    pytest.mark.harness,
    pytest.mark.process,
    pytest.mark.skipif(find_spec("atheris") is None, reason="pip install atheris"),
]

SEED = 20260115
NORMAL_RUNS = 1_000
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
INVOICE = (
    b'{"id": "inv-1", "state": "paid", "amount": "100.00", "amlOk": true, "paymentMethodID": 1, "type": "onetime"}'
)
SEEDS = {
    "signature": [SIGNATURE.encode(), b"sha256=" + SIGNATURE.encode(), b"dXEH6g6yUJ/CESIczphLijdXC21182IsRvQ3nIsEPhc="],
    "hint": [
        b'{"event": "invoice.paid", "data": {"invoiceID": "inv-1", "id": "x", "invoice": {"id": "y"}}}',
        b'{"invoice_id": 7, "type": "invoice", "data": {"id": "inv-1"}}',
        b'{"a": 1}',
        b'\xef\xbb\xbf{"invoiceId": "\\ud800"}',
        b"[" * 4000,
        b'{"a":' * 1000,
    ],
    "answer": [
        INVOICE,
        b'{"data": [' + INVOICE + b'], "total": 1, "page": 1, "limit": 20}',
        b'{"title": "Unauthorized", "detail": "missing", "status": 401, "type": "https://example.com/probs/x"}',
        b'{"amount": 1e999999999, "state": NaN, "id": 123456789012345678901234567890}',
    ],
    "token": [b"IjEwNDIi.ngsjrPdiIVLvbC9Ramdi65Yye_KyzCpM5UJt26bRMzY", b".eJxTMjQwMVICAAP5AS8.x", b"a.b"],
    "money": [b"100.00", b"0.000000000000000001", b"NaN", b"Infinity", b"1e-8", b"1_000", b"\xef\xbc\x91"],
}
# Where a target takes its input for a recipe, any bytes are a good one.
RECIPES = [Random(number).randbytes(200) for number in range(8)]


@pytest.fixture
def fuzz(tmp_path: Path) -> Callable[..., str]:
    """Runs a target so many times, from the seeds of its kind on; returns what the fuzzer printed."""

    def fuzz(name: str, runs: int) -> str:
        corpus = tmp_path / name
        corpus.mkdir()
        for number, seed in enumerate([*SEEDS[name.removeprefix("broken_")], *RECIPES]):
            (corpus / str(number)).write_bytes(seed)
        options = [f"-runs={runs}", f"-seed={SEED}", "-timeout=10", f"-artifact_prefix={tmp_path}/"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
        answer = subprocess.run(
            [sys.executable, "-m", "fuzz_targets", name, corpus, *options],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=900,
        )
        return answer.stdout

    return fuzz


@pytest.mark.parametrize("name", SEEDS)
def test_only_typed_errors_leave_a_parser(name, fuzz, scale, note_figure):
    """No input, however it came about, gets anything else out of it, and none is taken for what it is not."""
    runs = scale(NORMAL_RUNS, 40_000)
    output = fuzz(name, runs)
    assert "Traceback" not in output, output[-3000:]
    # A fuzzer that did not start finds nothing either.
    assert re.search(rf"^Done {runs} runs", output, re.MULTILINE), output[-3000:]
    note_figure(f"fuzzed inputs: {name}", f"{runs:,} tried, 0 foreign errors")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("broken_signature", "TypeError"),
        ("broken_hint", "AttributeError"),
        ("broken_answer", "ValueError"),
        ("broken_token", "UnicodeEncodeError"),
        ("broken_money", "ValueError"),
    ],
)
def test_a_bug_put_into_a_target_is_found(name, error, fuzz):
    """Each within the counts of the normal run, by its foreign error."""
    assert f"\n{error}: " in fuzz(name, NORMAL_RUNS)
