"""Ledgers over HTTP: what is refused, and what a real import does to the answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fallow_collector.answers.ledgers import Ledgers
from fallow_collector.ledgers.imports import Imports
from fallow_collector.state import State
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served
from tests.collector.watching import Watched, device

GOOD = {"age_s": 0.5, "nodes": [{"node": "n1"}], "jobs": [{"node": "n1", "holder": "job 1 of alice", "minor": 0}]}


class Part:
    """The real ledgers over a small fleet and a real state file."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        watched = Watched(device("g0", minor=0), device("g1", minor=1))
        self.imports = Imports(watched.fleet, 10.0, watched.engine.restart)
        self.now = watched.now
        self.ledgers = Ledgers(self.imports, self.state, self.refresh, lambda: self.now, lambda: 1e9)

    def refresh(self) -> None:
        self.imports.bring_up_to_date(self.now, 1e9)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    made = Part(tmp_path)
    yield made
    made.state.close()


@pytest.fixture
def http(part: Part) -> Iterator[httpx.Client]:
    with served(MemoryAnswers(), ledgers=part.ledgers) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_an_import_is_answered_with_what_became_of_it_and_is_on_disk_by_then(http: httpx.Client, part: Part) -> None:
    answer = http.put("/api/v1/ledgers/slurm", json=GOOD)
    assert answer.status_code == 200, answer.text
    expected = {
        "name": "slurm", "age_s": 0.5, "stale": False, "nodes": 1, "devices": 2, "allocated": 1, "unmatched": [],
    }
    assert answer.json() == expected
    assert http.get("/api/v1/ledgers").json() == [expected]
    assert [(row.ledger, row.node) for row in part.state.load_owned()] == [("slurm", "n1")]


def test_a_deleted_ledger_owns_nothing_not_even_after_a_restart(http: httpx.Client, part: Part) -> None:
    http.put("/api/v1/ledgers/slurm", json=GOOD)
    assert http.delete("/api/v1/ledgers/slurm").status_code == 204
    assert http.get("/api/v1/ledgers").json() == []
    assert part.state.load_owned() == []
    answer = http.delete("/api/v1/ledgers/slurm")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no ledger slurm; there are: none"


def test_an_import_older_than_the_last_is_refused(http: httpx.Client, part: Part) -> None:
    http.put("/api/v1/ledgers/slurm", json=GOOD)
    answer = http.put("/api/v1/ledgers/slurm", json={**GOOD, "age_s": 3})
    assert answer.status_code == 409
    assert "imported from two places" in answer.json()["detail"]


def test_ledgers_beyond_the_limit_are_refused(http: httpx.Client, part: Part) -> None:
    for number in range(16):
        assert http.put(f"/api/v1/ledgers/site{number}", json={"age_s": 0, "nodes": [], "jobs": []}).is_success
    assert http.put("/api/v1/ledgers/slurm", json=GOOD).status_code == 409


@pytest.mark.parametrize(("changes", "detail"), [
    ({"age_s": -1}, "age_s=-1.0: expected the seconds since"),
    ({"nodes": [{"node": "n1"}, {"node": "n1"}]}, "is there twice; expected each node once"),
    ({"nodes": [{"node": ""}]}, "an empty node"),
    ({"nodes": [{"node": "n1", "minors": [0, 0]}]}, "minor 0 is there twice"),
    ({"nodes": [{"node": "n1", "minors": [-1]}]}, "minor -1; expected 0 or more"),
    ({"nodes": []}, "its node 'n1' is not in nodes"),
    ({"jobs": [{"node": "n1", "holder": "job 1"}]}, "names no device; expected uuid, pci_bus_id or minor"),
    ({"jobs": [{"node": "n1", "holder": "", "minor": 0}]}, "an empty node or holder"),
    ({"jobs": [{"node": "n1", "holder": "job 1", "minor": 0, "uid": -1}]}, "uid -1; expected 0 or more"),
    ({"jobs": 2 * GOOD["jobs"]}, "is allocated twice"),  # type: ignore[operator]
    ({"jobs": [{"node": "n1", "holder": "job 1", "index": 0}]}, "index"),
    ({"jobs": [{"node": "n1", "holder": "job\n1", "minor": 0}]}, "printable"),
])
def test_an_import_that_contradicts_itself_is_refused_as_a_whole(
    http: httpx.Client, changes: dict[str, Any], detail: str
) -> None:
    answer = http.put("/api/v1/ledgers/slurm", json={**GOOD, **changes})
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert http.get("/api/v1/ledgers").json() == []


@pytest.mark.parametrize("name", ["fallow", "Slurm", "a.b", "1st"])
def test_a_ledger_s_name_is_a_word_and_not_our_own(http: httpx.Client, name: str) -> None:
    assert http.put(f"/api/v1/ledgers/{name}", json=GOOD).status_code == 400
