import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fallow_collector.stores.store import Batch, StoreError
from tests.collector.stores.contract import GPU, NODE, START, ask, batch, rows, seconds
from tests.collector.stores.embedded import writer
from tests.collector.stores.embedded.conftest import Place, close_slices, compact

ROOT = Path(__file__).parents[4]


@contextmanager
def writing(directory: Path, first: int, *prefix: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", writer.__name__, str(directory), str(first)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_kill_9_in_mid_write_loses_nothing_that_was_acknowledged_and_doubles_nothing(place: Place) -> None:
    chance = random.Random(20_251_122)
    expected = -1
    closed = compacted = 0
    for _ in range(10):
        with writing(place.directory, expected + 1) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            acknowledged = expected
            for _ in range(chance.randrange(1, 60)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            acknowledged = max([acknowledged, *(int(line) for line in process.stdout)])
        store, committed = place.open()
        ((first, last),) = committed[NODE]
        assert first == 0
        assert last in (acknowledged, acknowledged + 1)  # the batch that it was killed in is there whole, or not at all
        for uuid in (GPU.uuid, writer.OTHER.uuid):
            table = store.history(ask("power_watts", end=1e9, uuid=uuid))
            assert table.values[:, 0].tolist() == list(range(last + 1))
            assert seconds(table) == [number * writer.SECONDS_PER_BATCH for number in range(last + 1)]
        closed += int(store.facts()["slice_files"])
        compacted += int(store.facts()["hour_files"])
        place.close()
        expected = last
    assert expected > 100
    assert closed
    assert compacted


@pytest.fixture
def disk_image(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An ext4 file system in a file, mounted: (file, mount point)."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a file system in a file needs root and mkfs.ext4")
    image, disk = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(128 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    disk.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, disk], check=False).returncode:
        pytest.skip("this machine has no loop devices")
    yield image, disk
    subprocess.run(["umount", disk], check=True)


def test_a_power_cut_loses_nothing_that_was_acknowledged(disk_image: tuple[Path, Path], tmp_path: Path) -> None:
    """A copy of the disk at some moment is what the power would have left: what was not synced is not in it."""
    image, disk = disk_image
    after = tmp_path / "after"
    after.mkdir()
    chance = random.Random(1)
    with writing(disk / "store", 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        for cut in range(8):
            acknowledged = -1
            for _ in range(chance.randrange(5, 40)):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)  # or the copy would be one of many moments
            copied = tmp_path / f"cut-{cut}"
            subprocess.run(["cp", "--sparse=always", image, copied], check=True)
            process.send_signal(signal.SIGCONT)
            subprocess.run(["mount", "-o", "loop", copied, after], check=True)
            place = Place(after / "store")
            try:
                store, committed = place.open()
                ((first, last),) = committed[NODE]
                assert first == 0
                assert last >= acknowledged
                table = store.history(ask("power_watts", end=1e9))
                assert table.values[:, 0].tolist() == list(range(last + 1))
                assert store.facts()["quarantined_files_total"] == 0
            finally:
                place.close()
                subprocess.run(["umount", after], check=True)
            copied.unlink()


@pytest.mark.server("strace")
def test_a_sync_that_fails_is_never_repeated_on_the_same_file(place: Place) -> None:
    """After a failed fsync the kernel may have dropped the pages: the slice is read again from the disk."""
    script = f"""
import sys
from pathlib import Path
from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from fallow_collector.stores.store import Batch, StoreError
from tests.collector.stores.contract import START, batch, rows
store = EmbeddedStore(Path({str(place.directory)!r}), EmbeddedSettings(min_free_gib=0))
store.open()
for number in range(8):
    one = batch(rows([number], {{"power_watts": [number]}}), lo=number)
    try:
        store.write(one, START + number)
    except StoreError as error:
        print(error)
        store.write(one, START + number)
print(store.facts()["hot_slices"])
"""
    log = place.directory / "hot" / "hot-00000001.duckdb.wal"
    strace = [
        "strace", "-f", "-qq", "-o", str(place.directory.with_name("trace")), "-P", str(log),
        "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=4",
    ]
    done = subprocess.run(
        [*strace, sys.executable, "-c", script], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=True,
    )
    first, slices = done.stdout.splitlines()
    assert first.startswith("the batch was not stored: FATAL Error: fsync failed")
    assert slices == "2"
    store, committed = place.open()
    assert committed == {NODE: [(0, 7)]}
    assert seconds(store.history(ask("power_watts"))) == list(range(8))
    close_slices(store, START + 601)
    compact(store, START + 3600)
    assert store.facts()["raw_rows"] == 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_stores_nothing_of_the_batch_and_space_makes_it_work_again(small_disk: Path) -> None:
    place = Place(small_disk / "store")
    try:
        store, _ = place.open()
        for number in range(3):
            store.write(_thousand(number), START)
        filler = small_disk / "filler"
        _fill(filler)
        for _ in range(3):
            with pytest.raises(StoreError, match=r"the batch was not stored.*No space left on device"):
                store.write(_thousand(3), START)
        assert len(store.history(ask("power_watts")).time) == 3000
        with pytest.raises(StoreError, match="upkeep of the store failed and will be tried again"):
            close_slices(store, START + 601)
        assert len(store.history(ask("power_watts")).time) == 3000

        filler.unlink()
        store.write(_thousand(3), START + 602)
        assert len(store.history(ask("power_watts")).time) == 4000
        close_slices(store, START + 1300)
        store, committed = place.open()
        assert committed == {NODE: [(0, 3)]}
        assert len(store.history(ask("power_watts")).time) == 4000
    finally:
        place.close()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _thousand(number: int) -> Batch:
    at = [number + thousandth / 1000 for thousandth in range(1000)]
    return batch(rows(at, {"power_watts": at}), lo=number)
