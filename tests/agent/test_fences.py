"""Which fence is kept, on disk and through what happens to it, and what scripts are shown."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from fallow_agent import fences, fences_file
from fallow_agent.errors import FencesDamaged, FencesError
from fallow_agent.fences_shown import shown
from fallow_agent.fences_thread import FencesThread
from fallow_proto.v1 import telemetry_pb2 as pb

UNIX_S = 1_790_000_000.25


def fence(device: str = "gpu-a", token: int = 7, *, held: bool = True, lease_id: str = "l1") -> pb.DeviceFence:
    return pb.DeviceFence(device=device, token=token, held=held, lease_id=lease_id, holder="alice")


@pytest.mark.parametrize(("asked", "kept"), [
    (fence(token=8, lease_id="l2"), fence(token=8, lease_id="l2")),
    (fence(token=8, held=False), fence(token=8, held=False)),
    (fence(token=6, lease_id="l0"), fence()),
    (fence(token=7, held=False), fence(held=False)),
    (fence(token=7, held=False, lease_id="another"), fence(held=False)),
    (fence(token=7, lease_id="another"), fence()),
    (fence(token=0), fence()),
    (fence(token=fences.TOKEN_LIMIT), fence()),
    (fence(token=fences.TOKEN_LIMIT - 1), fence(token=fences.TOKEN_LIMIT - 1)),
])
def test_the_highest_token_is_kept_and_an_equal_one_changes_only_whether_it_holds(
    asked: pb.DeviceFence, kept: pb.DeviceFence
) -> None:
    before = {"gpu-a": fence(), "gpu-b": fence("gpu-b", 3)}
    after = fences.after(before, [asked])
    assert after == {"gpu-a": kept, "gpu-b": fence("gpu-b", 3)}
    assert fences.of(after, [asked]) == [kept]
    assert before == {"gpu-a": fence(), "gpu-b": fence("gpu-b", 3)}


def test_of_several_fences_of_a_device_in_one_message_the_highest_wins_and_is_answered_once() -> None:
    asked = [fence(token=8), fence(token=10), fence(token=9), fence("", 1)]
    after = fences.after({}, asked)
    assert fences.of(after, asked) == [fence(token=10)]


def test_no_more_devices_are_kept_than_fit_and_those_that_are_go_on_rising() -> None:
    full = {f"gpu-{n}": fence(f"gpu-{n}", 1) for n in range(fences.DEVICES)}
    after = fences.after(full, [fence("one-more"), fence("gpu-0", 2)])
    assert "one-more" not in after
    assert after["gpu-0"].token == 2


def test_what_is_written_is_read_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "fences.json"
    assert fences_file.read(path) == {}
    kept = {"gpu-a": fence(token=fences.TOKEN_LIMIT - 1), "gpu-ü": fence("gpu-ü", 1, held=False)}
    fences_file.write(path, kept)
    assert fences_file.read(path) == kept
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["fences.json"], "nothing is left beside it"


@pytest.mark.parametrize("text", [
    "", "{", "null", '{"version": 2, "fences": []}', '{"version": 1}', "\x00\xff",
    '{"version": 1, "fences": [{"device": "a", "token": 0, "held": true, "lease_id": "", "holder": ""}]}',
    '{"version": 1, "fences": [{"device": "a", "token": -1, "held": true, "lease_id": "", "holder": ""}]}',
    '{"version": 1, "fences": [{"device": "", "token": 1, "held": true, "lease_id": "", "holder": ""}]}',
    '{"version": 1, "fences": [{"device": "a", "token": 1.5, "held": true, "lease_id": "", "holder": ""}]}',
])
def test_a_damaged_file_is_no_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "fences.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FencesDamaged, match=r"fences\.json is"):
        fences_file.read(tmp_path / "fences.json")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "fences.json"
    fences_file.write(path, {"gpu-a": fence()})
    (tmp_path / ".fences.json.new").mkdir()  # in the way of the new one
    with pytest.raises(FencesError, match="cannot be written"):
        fences_file.write(path, {"gpu-a": fence(token=8)})
    assert fences_file.read(path) == {"gpu-a": fence()}


def test_scripts_are_shown_every_device_that_is_there_or_was_ever_fenced() -> None:
    there = [
        pb.Device(uuid="gpu-a", index=1, minor=0, pci_bus_id="0000:17:00.0"), pb.Device(uuid="cpu-1", index=0),
    ]
    said = json.loads(shown("node1", UNIX_S, there, {"gpu-a": fence(), "gone": fence("gone", 3, held=False)}))
    assert said == {
        "version": 1, "node": "node1", "written": "2026-09-21T14:13:20.250Z",
        "devices": {
            "gpu-a": {
                "token": 7, "held": True, "lease_id": "l1", "holder": "alice", "index": 1, "minor": 0,
                "pci_bus_id": "0000:17:00.0",
            },
            "cpu-1": {
                "token": None, "held": False, "lease_id": None, "holder": None, "index": 0, "minor": None,
                "pci_bus_id": None,
            },
            "gone": {
                "token": 3, "held": False, "lease_id": "l1", "holder": "alice", "index": None, "minor": None,
                "pci_bus_id": None,
            },
        },
    }


class Kept:
    """A fences' thread under a folder, asked in a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.run_dir = folder / "run"
        self.run_dir.mkdir(exist_ok=True)
        self.path = self.spool / "fences.json"

    def ask(self, *messages: Sequence[pb.DeviceFence]) -> list[list[pb.DeviceFence]]:
        """What each is answered, by a thread that was just started."""

        async def run() -> list[list[pb.DeviceFence]]:
            answers: list[list[pb.DeviceFence]] = []
            thread = FencesThread(self.spool, self.run_dir, "node1", lambda: UNIX_S)
            self.recovered = thread.kept()
            thread.show([pb.Device(uuid="gpu-a", minor=0)])
            for asked in messages:
                thread.take(asked, lambda kept, answer: answers.append(list(answer)))
            await thread.close()
            return answers

        return asyncio.run(run())

    def shown(self) -> dict[str, object]:
        return json.loads((self.run_dir / "fences.json").read_text())["devices"]  # type: ignore[no-any-return]


def test_each_message_is_answered_in_order_and_the_next_run_knows_what_was_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.ask([fence(token=5)], [fence(token=4, lease_id="l0")], [fence(token=6), fence("gpu-b")]) == [
        [fence(token=5)], [fence(token=5)], [fence(token=6), fence("gpu-b")]
    ]
    assert kept.ask([fence(token=5)]) == [[fence(token=6)]]
    assert kept.recovered == [fence(token=6), fence("gpu-b")]
    assert set(kept.shown()) == {"gpu-a", "gpu-b"}
    assert (kept.run_dir / "fences.json").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_is_not_confirmed_and_what_was_known_before_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    kept.ask([fence(), fence("gpu-b", 3)])
    (kept.spool / ".fences.json.new").mkdir()
    assert kept.ask([fence(token=8), fence("gpu-b", 2), fence("gpu-c")]) == [[fence("gpu-b", 3)]]
    assert fences_file.read(kept.path) == {"gpu-a": fence(), "gpu-b": fence("gpu-b", 3)}
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "fences cannot be kept, and the collector is not told that they are" in said


def test_a_repeated_fence_is_confirmed_without_touching_the_disk(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.ask([fence()])
    (kept.spool / ".fences.json.new").mkdir()
    assert kept.ask([fence()]) == [[fence()]]


def test_a_damaged_file_is_set_aside_and_said_and_tokens_are_kept_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    kept.spool.mkdir()
    kept.path.write_text("torn")
    assert kept.ask([fence()]) == [[fence()]]
    assert (kept.spool / "fences.json.damaged").read_text() == "torn"
    assert "fences are lost" in caplog.text


def test_a_file_that_cannot_be_read_is_never_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path)
    kept.spool.mkdir()
    kept.path.mkdir()  # reading it fails as one without permission does, also for root
    assert kept.ask([fence()]) == [[]]
    assert kept.path.is_dir()
    assert "none is taken until they can be" in caplog.text


def test_a_run_folder_that_is_not_there_costs_the_scripts_their_file_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    kept.run_dir.rmdir()
    assert kept.ask([fence()]) == [[fence()]]
    assert "scripts on this node are not shown its fences" in caplog.text
