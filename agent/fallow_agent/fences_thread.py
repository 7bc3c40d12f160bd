"""Keeps the fences: takes what the collector sends to disk and to the scripts' file in a thread of its own.

The event loop never waits for a disk. A fence is told only when it is kept; one that could not be kept is told to the
log, and not to the collector, who then knows no better than before.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fallow_agent import fences, fences_file, fences_shown
from fallow_agent.errors import FencesDamaged, FencesError
from fallow_agent.logs import line
from fallow_proto.v1 import telemetry_pb2 as pb

log = logging.getLogger(__name__)

SHOW_AGAIN_S = 60.0
"""How often the scripts' file is written though nothing changed, so that an agent that is gone shows as such."""

Done = Callable[[Sequence[pb.DeviceFence], Sequence[pb.DeviceFence]], None]
"""(all that is kept, what is kept of the devices asked for), in the event loop."""


class FencesThread:
    """Call it from the event loop; what is asked for is done in order."""

    def __init__(self, folder: Path, run_dir: Path, node: str, wall: Callable[[], float]) -> None:
        """folder: the spool's. wall: unix seconds. Reads what is kept; raises nothing."""
        self._path = folder / fences_file.FILE
        self._shown_path = run_dir / fences_shown.FILE
        self._node = node
        self._wall = wall
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fences")
        self._kept: dict[str, pb.DeviceFence] = {}  # from here on the thread's
        self._devices: tuple[pb.Device, ...] = ()
        self._unread = True
        self._show_at = 0.0
        self._read()

    def kept(self) -> list[pb.DeviceFence]:
        """What was kept when the agent started: call it before anything is taken."""
        return list(self._kept.values())

    def take(self, asked: Sequence[pb.DeviceFence], done: Done) -> None:
        """Keep these, show them, then say what is kept."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._take, asked)
        future.add_done_callback(lambda taken: None if taken.cancelled() else done(*taken.result()))

    def show(self, devices: Sequence[pb.Device]) -> None:
        """The devices there are, from now on."""
        self._executor.submit(self._show, tuple(devices))

    def pulse(self, now: float) -> None:
        """Call it about once a second. now: boot time."""
        if now >= self._show_at:
            self._show_at = now + SHOW_AGAIN_S
            self._executor.submit(self._show, None)

    async def close(self) -> None:
        """What was asked for until now is done. May take as long as the disk does: give it a time limit."""
        await asyncio.get_running_loop().run_in_executor(self._executor, partial(self._show, None))
        self._executor.shutdown(wait=False)

    # In the thread

    def _take(self, asked: Sequence[pb.DeviceFence]) -> tuple[list[pb.DeviceFence], list[pb.DeviceFence]]:
        for found in filter(None, map(fences.fault, asked)):
            log.error(line("a fence cannot be kept", found=found))
        after = fences.after(self._kept, asked)
        if after != self._kept and not self._write(after):
            same = {device: fence for device, fence in self._kept.items() if after[device] == fence}
            return list(self._kept.values()), fences.of(same, asked)
        self._kept = after
        self._show(None)
        answer = fences.of(after, asked)
        if left := {fence.device for fence in asked if not fences.fault(fence)} - after.keys():
            log.error(line("more devices than are kept tokens of", limit=fences.DEVICES, left_out=len(left)))
        return list(after.values()), answer

    def _write(self, after: fences.Kept) -> bool:
        if self._unread and not self._read():
            return False  # what is there may be higher
        try:
            fences_file.write(self._path, after)
        except FencesError as error:
            log.error(line("fences cannot be kept, and the collector is not told that they are", error=error))
            return False
        return True

    def _read(self) -> bool:
        try:
            self._kept = fences_file.read(self._path)
        except FencesDamaged as error:
            return self._set_aside(error)
        except FencesError as error:
            log.error(line("fences cannot be read, and none is taken until they can be", error=error))
            return False
        self._unread = False
        return True

    def _set_aside(self, damage: FencesDamaged) -> bool:
        try:
            aside = fences_file.set_aside(self._path)
        except FencesError as error:
            log.error(line("fences cannot be read, and none is taken until they can be", error=error, damage=damage))
            return False
        log.error(line("fences are lost; the collector's own tokens go on rising", error=damage, set_aside=aside))
        self._unread = False
        return True

    def _show(self, devices: Sequence[pb.Device] | None) -> None:
        """devices: None: the same as before."""
        if devices is not None:
            self._devices = tuple(devices)
        try:
            fences_shown.write(
                self._shown_path, fences_shown.shown(self._node, self._wall(), self._devices, self._kept)
            )
        except OSError as error:
            log.error(line("scripts on this node are not shown its fences", file=self._shown_path, error=error))
