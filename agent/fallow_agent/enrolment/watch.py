"""The running agent's eye on its certificate: it is renewed in time, and new files are used at once.

The shell of renewal.py. A renewal is a process of its own and only writes files; that they changed is seen here like a
change by anybody else's hand.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from fallow_agent.config import Settings
from fallow_agent.enrolment import renewal
from fallow_agent.logs import line
from fallow_agent.uplink.certificate import Shown, examine
from fallow_proto.stamp import stamp

log = logging.getLogger(__name__)

RENEW_S = 60.0
"""After which a renewal that does not end is ended."""


class Watch:
    """changed: called when the files hold another good certificate than before."""

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._share = renewal.share(Random())
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._shown: Shown | None = None
        self._try_at = 0.0

    async def run(self) -> None:
        while True:
            wait_s = await self._look()
            await asyncio.sleep(wait_s)

    async def _look(self) -> float:
        """Seconds until the next look."""
        await self._read()
        shown, now = self._shown, time.time()
        if shown is None or not renewal.renews(self._settings.tls, self._settings.node_name, shown):
            return renewal.LOOK_S
        at = max(renewal.due_at(shown, self._share), self._try_at)
        if now < at:
            return min(renewal.LOOK_S, at - now)
        self._try_at = now + renewal.retry_s(shown)
        problem = await self._renew()
        if problem:
            level = logging.ERROR if renewal.is_short(shown, now) else logging.WARNING
            log.log(level, line("certificate not renewed", ends_in_s=round(shown.ends - now), reason=problem))
            return renewal.RETRY_S[0]
        return 0.0

    async def _read(self) -> None:
        tls = self._settings.tls
        seen = tuple(stamp(Path(path)) for path in (tls.ca, tls.cert, tls.key))
        if seen == self._seen:
            return
        found = await asyncio.to_thread(examine, tls)
        if not isinstance(found, Shown):
            return  # half of it is written, or it is bad: the uplink says so, and the next look tries again
        is_first, self._seen = self._seen is None, seen
        self._shown, self._try_at = found, 0.0
        if not is_first:
            log.info(line("certificate is new", ends_in_s=round(found.ends - time.time())))
            self._changed()

    async def _renew(self) -> str:
        """Why it failed, empty if it did not."""
        tls = self._settings.tls
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fallow_agent.enrolment.renew", self._settings.collector, tls.ca, tls.cert,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            return f"no process can be started: {error.strerror}"
        try:
            async with asyncio.timeout(RENEW_S):
                _, said = await child.communicate()
        except TimeoutError:
            return f"no end within {RENEW_S:.0f} s"
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return "" if child.returncode == 0 else said.decode(errors="replace").strip().rpartition("\n")[2]
