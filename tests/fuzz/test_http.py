"""The API of a real collector under whatever its own document allows, and what it does not."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.collector.ingest.builders import NODE, hello, layout
from tests.collector.program import PATIENCE_S, Agent, Program, running
from tests.fuzz.amount import inputs

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance]
ENDLESS = {"/api/v1/watch", "/api/v1/recording"}
KNOWN = {"uuid": f"{NODE}-gpu-0", "node": NODE}


def test_no_request_makes_the_collector_fail_or_answer_what_its_document_does_not_say(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    statuses: Counter[int] = Counter()
    with running(Program(tmp_path / "collector")) as program:
        agent = Agent(program.grpc)
        agent.say(hello(), layout())
        agent.hear("welcome")
        document = schemathesis.openapi.from_url(f"http://{program.http}/openapi.json")
        for found in document.get_all_operations():
            operation = found.ok()
            if operation.path not in ENDLESS:
                try_all(operation, statuses)
        assert program.process.poll() is None
        assert program.get("/readyz").status_code == 200
        agent.close()
    record_property("fuzzed", statuses.total())
    log = program.log.read_text()
    assert "Traceback" not in log
    assert "BUG" not in log
    assert sum(n for status, n in statuses.items() if status < 300) > 20, statuses
    assert sum(n for status, n in statuses.items() if 400 <= status < 500) > 20, statuses


def try_all(operation: Any, statuses: Counter[int]) -> None:
    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=inputs(25, 3_000), database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(), known=st.booleans())
    def attempt(case: Any, known: bool) -> None:
        if known:
            case.path_parameters.update({name: KNOWN[name] for name in KNOWN if name in case.path_parameters})
        answer = case.call(timeout=PATIENCE_S)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    attempt()
