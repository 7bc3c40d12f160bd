"""Every failing call in turn while one durable file is opened, used and closed, in one process with falter.c loaded:

    python -m tests.faults.faltering PLAN FOLDER CASE short|long

A line of JSON for each call that failed: what was told, and what was missing when nothing failed any more.
"""

import errno
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from fallow_agent.spool.item import Commit
from fallow_agent.spool.spool import Spool
from fallow_collector.leases.file import LeaseFile, Standing
from fallow_collector.leases.rows import LeaseRow
from fallow_collector.state import SeenRow, State, StateError
from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from fallow_collector.stores.store import StoreError
from tests.agent.builders import START_MS, report
from tests.collector.stores.contract import GPU, NODE, START, ask, batch, rows
from tests.faults.falter import Call, Falter

MANY = 60
SECONDS = 120
"""Between two batches: a slice holds five, an hour's file thirty."""
ERRORS = (errno.EIO, errno.EMFILE, errno.ENOSPC)
SHORT = (1, 3, 9, 27)
"""Of a long row of calls, these fail in the short form, and only in one way."""


class Case(NamedTuple):
    """prepare: make a folder as kill -9 leaves it. under: the part of it on which calls fail. use: why it could not be
    opened, empty: it could, and then went on once the fault had passed. missing: what is not there that has to be."""

    under: str
    prepare: Callable[[Path], None]
    use: Callable[[Path], str]
    missing: Callable[[Path], str]


def settings() -> EmbeddedSettings:
    return EmbeddedSettings(min_free_gib=0)


def write(store: EmbeddedStore, numbers: Iterable[int]) -> None:
    """Each until it is stored: the fault passes."""
    for number in numbers:
        one = batch(rows([number * SECONDS], {"power_watts": [number]}), lo=number, series=[GPU])
        for attempt in count():
            try:
                store.write(one, START + number * SECONDS)
                break
            except StoreError:
                if attempt == 3:
                    raise
        try:
            store.maintain(START + number * SECONDS)
        except StoreError:
            continue


def prepare_store(folder: Path) -> None:
    store = EmbeddedStore(folder / "open", settings())
    store.open()
    write(store, range(MANY))
    shutil.copytree(folder / "open", folder / "store")
    store.close()
    shutil.rmtree(folder / "open")


def open_store(folder: Path) -> str:
    store = EmbeddedStore(folder / "store", settings())
    try:
        store.open()
    except StoreError as error:
        return str(error)
    store.close()
    return ""


def use_store(folder: Path) -> str:
    store = EmbeddedStore(folder / "store", settings())
    try:
        store.open()
    except StoreError as error:
        return str(error)
    write(store, range(MANY, 2 * MANY))
    store.close()
    (folder / "used").touch()
    return ""


def missing_of_store(folder: Path) -> str:
    store = EmbeddedStore(folder / "store", settings())
    committed = store.open()
    try:
        many = 2 * MANY if (folder / "used").exists() else MANY
        found = store.history(ask("power_watts", end=1e9)).values[:, 0].tolist()
        said = list(committed[NODE])
        aside = [file.name for file in (folder / "store").glob("quarantine/*")]
        right = (found, said, aside) == (list(range(many)), [(0, many - 1)], [])
        return "" if right else f"rows {found}, ranges {said}, set aside {aside}"
    finally:
        store.close()


SEEN = [SeenRow(f"gpu-{number}", "n", "s", True, False, "", b"{}") for number in range(200)]


def prepare_state(folder: Path) -> None:
    (folder / "open").mkdir()
    state = State(folder / "open")
    state.save_seen(SEEN)
    shutil.copytree(folder / "open", folder / "state")
    state.close()
    shutil.rmtree(folder / "open")


def use_state(folder: Path) -> str:
    try:
        state = State(folder / "state")
    except StateError as error:
        return str(error)
    try:
        kept(lambda: state.save_seen([SEEN[0]._replace(uuid="gpu-new")]))
    finally:
        state.close()
    (folder / "used").touch()
    return ""


def kept(write: Callable[[], None]) -> None:
    """The fault passes, and the same connection must do."""
    try:
        write()
    except StateError:
        write()


def missing_of_state(folder: Path) -> str:
    state = State(folder / "state")
    try:
        found = {row.uuid for row in state.load_seen()}
        wanted = {row.uuid for row in SEEN} | ({"gpu-new"} if (folder / "used").exists() else set())
        aside = [file.name for file in (folder / "state").glob("*damaged*")]
        return "" if wanted <= found and not aside else f"{len(found)} rows, set aside {aside}"
    finally:
        state.close()


def lease(number: int) -> LeaseRow:
    return LeaseRow(f"lease-{number}", "c", "h", number, "leased", 60, 1.0, 1.0, 1.0, "[]", 0, "", "", "")


def prepare_leases(folder: Path) -> None:
    (folder / "state").mkdir()
    file = LeaseFile(folder / "state")
    file.write([lease(number) for number in range(200)], (), Standing(200, 1.0))
    file.close()


def use_leases(folder: Path) -> str:
    try:
        file = LeaseFile(folder / "state")
    except StateError as error:
        return str(error)
    try:
        kept(lambda: file.write([lease(200)], (), Standing(201, 2.0)))
    finally:
        file.close()
    (folder / "used").touch()
    return ""


def missing_of_leases(folder: Path) -> str:
    file = LeaseFile(folder / "state")
    try:
        found, standing = file.load()
        many = 201 if (folder / "used").exists() else 200
        aside = [each.name for each in (folder / "state").glob("*damaged*")]
        right = len(found) >= many and standing.last_token >= many and not aside
        return "" if right else f"{len(found)} leases, {standing}, set aside {aside}"
    finally:
        file.close()


def spool_in(folder: Path) -> Spool:
    return Spool.open(folder / "spool", 64 << 20, 72 * 3_600_000, now=0.0)


def prepare_spool(folder: Path) -> None:
    spool = spool_in(folder)
    for number in range(1, MANY):
        spool.commit(Commit([report(number, padding=300)]), START_MS, 0.0)
    spool.close()


def use_spool(folder: Path) -> str:
    spool = spool_in(folder)
    problem = spool.problem
    spool.close()
    return problem


def missing_of_spool(folder: Path) -> str:
    spool = spool_in(folder)
    found = len(spool.read("a", 1, MANY, 1 << 30, 0.0)[0])
    spool.close()
    aside = [file.name for file in (folder / "spool").glob("*damaged*")]
    return "" if found == MANY - 1 and not aside else f"{found} reports, set aside {aside}"


CASES = {
    "store opened": Case("store", prepare_store, open_store, missing_of_store),
    "store used": Case("store", prepare_store, use_store, missing_of_store),
    "state": Case("state", prepare_state, use_state, missing_of_state),
    "spool": Case("spool", prepare_spool, use_spool, missing_of_spool),
    "leases": Case("state", prepare_leases, use_leases, missing_of_leases),
}


def ever_rarer() -> Iterator[int]:
    """Each of the first calls, then in steps of a thirty-second of the number: DuckDB makes thousands."""
    number = 0
    while True:
        number += 1 + number // 32
        yield number


def main(plan: str, folder: str, name: str, form: str) -> None:
    logging.disable(logging.CRITICAL)
    case, root, falter = CASES[name], Path(folder), Falter(Path(plan))
    (root / "prepared").mkdir()
    case.prepare(root / "prepared")
    work = root / "work"
    for call in Call:
        for error in ERRORS if form == "long" else ERRORS[:1]:
            for number in ever_rarer() if form == "long" else SHORT:
                shutil.rmtree(work, ignore_errors=True)
                shutil.copytree(root / "prepared", work)
                falter.plan(call, work / case.under, error, number)
                try:
                    told, missing = case.use(work), ""
                except (StateError, StoreError) as fault:
                    told, missing = "", f"does not go on: {fault}"
                hit = falter.failed
                falter.end()
                if not hit:
                    break
                print(json.dumps({
                    "call": call.name, "error": errno.errorcode[error], "number": number, "told": told,
                    "missing": missing or case.missing(work),
                }), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
