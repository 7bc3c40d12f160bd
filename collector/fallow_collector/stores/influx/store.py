"""The store that speaks the InfluxDB 2 write API: performs what the pure parts of this package decide."""

import logging
from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path
from time import monotonic

from fallow_collector.stores.influx.bodies import BODY_BYTES, Body, pack
from fallow_collector.stores.influx.flux import FluxHistory
from fallow_collector.stores.influx.ledger import Ledger
from fallow_collector.stores.influx.lines import Prefixes, encode
from fallow_collector.stores.influx.promql import PromqlHistory
from fallow_collector.stores.influx.refused import RefusedFile
from fallow_collector.stores.influx.search import Findings, confirm, put
from fallow_collector.stores.influx.server import SETTLE_S, Server, Unreachable, Watch
from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.settle import Alive, Broken, Seen, Written, judge
from fallow_collector.stores.influx.token import TokenFile
from fallow_collector.stores.influx.writer import Answer, WriteError, Writer
from fallow_collector.stores.store import Batch, HistoryQuery, Outcome, Rows, Source, Span, StoreError, Table
from fallow_proto.ranges import RangeSet
from fallow_proto.settings import SettingsError

_log = logging.getLogger(__name__)

_WATCH_TIMEOUT_S = 5.0


class InfluxStore:
    """stores.store.Store on a server's write API.

    The server need not be there when the store is opened; until it is, writes raise StoreError.
    """

    def __init__(
        self, settings: InfluxSettings, ledger_path: Path, timeout_s: float = 30.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Refused rows are kept beside the ledger, in refused.lp. timeout_s: of a write or a question. clock: seconds,
        rising whatever is done to the wall clock; what settles and what is left alone is measured with it.

        Raises SettingsError.
        """
        if not settings.url:
            raise SettingsError('store.influx.url is empty; store.kind = "influx" needs e.g. "http://influx:8086"')
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._token = TokenFile(settings.token_file)
        self._ledger = Ledger(ledger_path)
        self._refused = RefusedFile(ledger_path.with_name("refused.lp"))
        self._watch = Watch(settings.url, self._token, min(timeout_s, _WATCH_TIMEOUT_S))
        self._history = _history(settings, self._token, timeout_s)
        self._prefixes = Prefixes()
        self._body_bytes = BODY_BYTES
        self._writer: Writer | None = None
        self._server: Server | None = None
        self._start: float | None = None
        self._waiting: list[Written] = []
        self._lost: list[Span] = []
        self._not_before = -inf
        self._bodies = self._rows = self._refused_rows = self._restarts = 0

    def open(self) -> dict[Source, RangeSet]:
        return self._ledger.open()

    def write(self, batch: Batch, now: float) -> Outcome:
        if (pause_s := self._not_before - self._clock()) > 0:
            raise StoreError(f"{self._settings.url} asked to be left alone for another {pause_s:.0f} s (Retry-After)")
        self._prefixes.learn(batch.series)
        server = self._meet(now)
        findings, unspeakable = self._put(batch, now)
        answered = self._clock()
        refused_rows, message = self._set_aside(findings, unspeakable, now)
        spans = tuple(batch.spans)
        settle_s = self._settings.settle_s or SETTLE_S[server.kind]
        if settle_s > 0 and findings.stored_lines:
            self._waiting.append(Written(spans, answered + settle_s, server.start))
            committed: list[Span] = []
        else:
            self._ledger.add(spans, now)
            committed = list(spans)
        self._rows += findings.stored_lines
        self._refused_rows += refused_rows
        return Outcome(committed, self._take_lost(), refused_rows, message)

    def poll(self, now: float) -> Outcome:
        at = self._clock()  # it is seen alive after this
        committed = self._see(self._watch.look(), now, at) if self._waiting else []
        return Outcome(committed, self._take_lost())

    def maintain(self, now: float) -> None:
        """Nothing: retention and compaction are the server's own."""

    def history(self, query: HistoryQuery) -> Table:
        if self._history is None:
            raise StoreError(
                'store.influx.query is "none"; for history set it to "promql" (VictoriaMetrics) or "flux" (InfluxDB 2)'
            )
        return self._history.ask(query)

    def facts(self) -> dict[str, float]:
        return {
            "bodies_total": float(self._bodies),
            "rows_total": float(self._rows),
            "refused_rows_total": float(self._refused_rows),
            "restarts_total": float(self._restarts),
            "unsettled_spans": float(sum(len(write.spans) for write in self._waiting)),
        }

    def close(self) -> None:
        """What has not settled is forgotten here: agents still have it and offer it again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._history is not None:
            self._history.close()
        self._watch.close()
        self._ledger.close()

    def _meet(self, now: float) -> Server:
        """The server that writes go to; asked anew after each trouble, for by then it may be another one."""
        if self._server is not None:
            return self._server
        try:
            server = self._watch.meet()
        except Unreachable as error:
            self._see(error.seen, now, self._clock())
            raise StoreError(str(error)) from error
        settle_s = self._settings.settle_s or SETTLE_S[server.kind]
        if settle_s > 0 and not server.is_distinct:
            raise StoreError(
                f"{self._settings.url} began this very second, and one that follows it within the second could not be "
                "told from it; it is written to from the next second on"
            )
        _log.info("url=%s is=%r settle_s=%g", self._settings.url, str(server.kind), settle_s)
        if settle_s > 0 and server.start is None:
            _log.warning(
                "url=%s does not say since when it runs (process_start_time_seconds in /metrics): a restart that no "
                "request runs into is not seen, and may lose rows that were acknowledged", self._settings.url,
            )
        self._server = server
        self._note(server.start)
        return server

    def _put(self, batch: Batch, now: float) -> tuple[Findings, list[int]]:
        """Post all rows. What was rejected; and the positions in Batch.series of rows that cannot be said."""
        findings = Findings()
        unspeakable: list[int] = []
        try:
            for body in pack(self._encoded(batch.rows, unspeakable), self._body_bytes):
                put(body, lambda data: self._post(data, now), findings)
            confirm(findings, self._settings.url)
        except WriteError as error:
            self._not_before = self._clock() + error.pause_s
            if error.new_token:
                self._writer = None
            if error.seen is not None:
                self._see(error.seen, now, self._clock())
            raise
        finally:
            self._bodies += findings.posts
        if findings.smallest_too_large is not None:
            self._body_bytes = findings.smallest_too_large // 2
        return findings, unspeakable

    def _encoded(self, rows: Iterable[Rows], unspeakable: list[int]) -> Iterator[Body]:
        for block in rows:
            for encoded in encode(block, self._prefixes.array):
                unspeakable += encoded.unspeakable.tolist()
                yield encoded.body

    def _post(self, data: bytes, now: float) -> Answer:
        if self._writer is None:
            self._writer = Writer(self._settings, self._token.text(), self._timeout_s)
        return self._writer.post(data, now)

    def _set_aside(self, findings: Findings, unspeakable: list[int], now: float) -> tuple[int, str]:
        """How many rows will never be stored, and why."""
        reasons: dict[str, int] = {}
        for body, reason in findings.rejected:
            self._refused.add(body, reason, now)
            reasons[reason] = reasons.get(reason, 0) + body.lines
        for position in unspeakable:
            reason = self._prefixes.problems[position]
            reasons[reason] = reasons.get(reason, 0) + 1
        message = "; ".join(f"{rows} rows refused: {reason}" for reason, rows in list(reasons.items())[:3])
        return sum(reasons.values()), message

    def _see(self, seen: Seen, now: float, at: float) -> list[Span]:
        """Draw the consequences: what settled is in the ledger when this returns, what was lost is kept for later. now:
        unix seconds; at: the moment of our clock that this was seen after."""
        verdict = judge(self._waiting, seen, at)
        if verdict.settled:
            self._ledger.add(verdict.settled, now)
        self._waiting = verdict.waiting
        self._lost += verdict.lost
        match seen:
            case Alive(start) if self._server is not None and start != self._server.start:
                self._server = None
            case Broken():
                self._server = None
        if isinstance(seen, Alive):
            self._note(seen.start)
        if verdict.lost:
            _log.warning("url=%s seen=%r lost_spans=%d asked_for_again", self._settings.url, seen, len(verdict.lost))
        return verdict.settled

    def _note(self, start: float | None) -> None:
        """Count restarts, as far as the server says since when it runs."""
        if start is not None:
            self._restarts += self._start is not None and start != self._start
            self._start = start

    def _take_lost(self) -> list[Span]:
        lost, self._lost = self._lost, []
        return lost


def _history(settings: InfluxSettings, token: TokenFile, timeout_s: float) -> PromqlHistory | FluxHistory | None:
    match settings.query:
        case "promql":
            return PromqlHistory(settings.url, token, timeout_s)
        case "flux":
            return FluxHistory(settings, token, timeout_s)
        case "none":
            return None
