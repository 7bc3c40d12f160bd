"""What the collector says of itself: whether it can do its work, and its own numbers."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fallow_collector.certificate import Validity
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.health.board import Board
from fallow_collector.journal import Journal
from fallow_collector.pipeline import Pipeline
from fallow_collector.stores.store import Store
from fallow_collector.writer import Writer


class Measure(NamedTuple):
    name: str
    kind: str  # "gauge" or "counter"
    help: str
    labels: dict[str, str]
    value: float


class Own:
    def __init__(self, fleet: Fleet, pipeline: Pipeline, writer: Writer, store: Store, journal: Journal) -> None:
        self._fleet = fleet
        self._pipeline = pipeline
        self._writer = writer
        self._store = store
        self._journal = journal
        self.state_problem = ""  # why the state file cannot be written now
        self.listener_problem = "not listening yet"
        self.certificate_problem = ""
        self.certificate: Validity | None = None  # the collector's own
        self.alerts: Callable[[], Iterable[Measure]] = tuple  # what alerts say of themselves
        self.health: Board | None = None  # until the state is open

    def readiness(self) -> list[str]:
        """Why the collector cannot do its work now; empty when it can."""
        store = self._writer.trouble(time.monotonic())
        problems = {"store": store, "state": self.state_problem, "listeners": self.listener_problem, "certificates":
                    self.certificate_problem}
        return [f"{what}: {problem}" for what, problem in problems.items() if problem]

    def status(self) -> str:
        """One line for whoever asks systemd."""
        return "; ".join([f"{len(self._pipeline.streams)} agents, {self._fleet.count} devices", *self.readiness()])

    def measures(self) -> Iterator[Measure]:
        yield from self._of_ingest()
        if self.health is not None:
            yield from _of_health(self.health)
        yield from self.alerts()
        yield from self._of_writer()
        if not self._writer.opened:
            return
        for name, value in self._store.facts().items():
            kind = "counter" if name.endswith("_total") else "gauge"
            yield Measure(f"fallow_store_{name}", kind, "The store's own number.", {}, value)

    def _of_ingest(self) -> Iterator[Measure]:
        pipeline, streams = self._pipeline, self._pipeline.streams
        yield Measure("fallow_ingest_streams", "gauge", "Agents that are connected.", {}, len(streams))
        yield Measure("fallow_ingest_messages_total", "counter", "Messages from agents.", {}, streams.messages)
        yield Measure("fallow_ingest_bytes_total", "counter", "Bytes of these.", {}, streams.bytes)
        yield Measure(
            "fallow_ingest_superseded_total", "counter", "Streams closed for a newer one of the same node.", {},
            streams.superseded,
        )
        for reason, count in sorted(streams.refusals.counts.items()):
            yield Measure(
                "fallow_ingest_refused_total", "counter", "Reports, events and streams refused, by reason.",
                {"reason": reason}, count,
            )
        yield Measure("fallow_fleet_judged_total", "counter", "Reports judged.", {}, pipeline.judged)
        yield Measure(
            "fallow_fleet_absurd_values_total", "counter", "Values that no device can mean, judged as unknown.", {},
            self._fleet.absurd_values,
        )
        yield Measure(
            "fallow_fleet_contested_devices", "gauge", "Devices that a node names and another one has and keeps.", {},
            sum(1 for _ in self._fleet.claims()),
        )
        yield Measure("fallow_events_kept_total", "counter", "Events kept.", {}, pipeline.events_kept)
        yield Measure(
            "fallow_events_own_dropped_total", "counter",
            "Events of the collector itself that were dropped, because the state took none for too long.", {},
            self._journal.dropped,
        )
        for stage, count in sorted(pipeline.failures.items()):
            yield Measure(
                "fallow_stage_failures_total", "counter", "Failures of a stage, which went on.", {"stage": stage}, count
            )

    def _of_writer(self) -> Iterator[Measure]:
        pipeline, writer = self._pipeline, self._writer
        up = not writer.trouble(time.monotonic())
        yield Measure("fallow_writer_up", "gauge", "Whether the store commits: 1 or 0.", {}, float(up))
        yield Measure("fallow_writer_offered_total", "counter", "Reports taken for the store.", {}, pipeline.offered)
        yield Measure(
            "fallow_writer_dropped_total", "counter",
            "Reports not taken for want of room; their agents keep them and are asked again.", {}, pipeline.dropped,
        )
        yield Measure("fallow_writer_rows_total", "counter", "Rows handed to the store.", {}, writer.rows_written)
        yield Measure(
            "fallow_writer_refused_rows_total", "counter", "Rows that the store will never take.", {},
            writer.rows_refused,
        )
        yield Measure("fallow_writer_failures_total", "counter", "Commits and chores that failed.", {}, writer.failures)
        yield Measure("fallow_writer_pending_rows", "gauge", "Rows that wait for the store.", {}, writer.pending_rows)
        yield Measure("fallow_writer_pending_bytes", "gauge", "Their memory.", {}, writer.pending_bytes)
        yield Measure("fallow_writer_commit_seconds", "gauge", "What the last commit took.", {}, writer.commit_s)


def _of_health(board: Board) -> Iterator[Measure]:
    found = board.tally()
    for one, count in sorted(found.incidents.items()):
        yield Measure(
            "fallow_health_incidents", "gauge", "Open incidents of devices and nodes.", one._asdict(), count
        )
    for one, count in sorted(found.conditions.items()):
        yield Measure(
            "fallow_health_conditions", "gauge", "Devices of which a rule of health holds.", one._asdict(), count
        )
    yield Measure(
        "fallow_health_doubted_devices", "gauge",
        "Devices that rules of health would fail and do not, because they are too many at once.", {}, found.doubted,
    )
