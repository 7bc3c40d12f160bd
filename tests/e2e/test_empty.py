"""A collector that no agent has spoken to yet."""

from pathlib import Path

import httpx

from tests.e2e.programs import Collector

ENDLESS = {"/api/v1/watch"}


def test_every_question_has_an_answer_before_the_first_agent_has_come(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector, httpx.Client(base_url=collector.url, trust_env=False, timeout=30) as http:
        paths = http.get("/openapi.json").json()["paths"]
        plain = [path for path, methods in paths.items() if "get" in methods and "{" not in path]
        asked = set(plain) - ENDLESS
        found = {path: http.get(path, params={"for_s": "1"} if "recording" in path else None) for path in asked}
        assert {path: answer.text for path, answer in found.items() if answer.status_code >= 500} == {}
        assert found["/api/v1/capacity"].json()["groups"] == []
        fit = http.post("/api/v1/fit", json={"count": 8})
        assert (fit.status_code, fit.json()["fits"]) == (200, False)
        lease = http.post("/api/v1/leases", json={"request": {"count": 8}})
        assert (lease.status_code, lease.json()["code"]) == (409, "no_capacity")
        pod = {"spec": {"containers": []}}
        filtered = http.post("/api/v1/kubernetes/filter", json={"Pod": pod, "NodeNames": ["n"]})
        assert filtered.json()["NodeNames"] == ["n"]
        assert collector.fallow("capacity", status=3)
