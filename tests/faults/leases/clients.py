"""Holders of leases: `python clients.py URL NAME COUNT LOG UUID…` until SIGTERM, COUNT at once in one process.

Each takes devices by name or by request, commits, renews in time, just when its time is over or too late, gives them
back or forgets them, and looks who has what. What has no answer is asked again, a reservation with its key. Each call
goes to the log when it has ended.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from signal import SIGTERM
from typing import TextIO

from fallow_client import AsyncClient, Request
from fallow_client.errors import Refused, Unreachable
from fallow_client.leasing import clock
from fallow_proto.dispatch import Fault, Lease
from tests.faults.leases.history import UNKNOWN, Ask, Op, Sight, line_of

TTL_S = 4.0
TRIES = 4


class Holder:
    def __init__(self, name: str, fallow: AsyncClient, log: TextIO, over: asyncio.Event) -> None:
        self._name = name
        self._fallow = fallow
        self._log = log
        self._over = over
        self._chance = Random(name)
        self._keys = 0

    async def run(self, uuids: list[str]) -> None:
        while not self._over.is_set():
            if self._chance.random() < 0.25:
                await self._read()
            else:
                await self._turn(uuids)
            await asyncio.sleep(self._chance.random() * 0.2)

    async def _read(self) -> None:
        asked = clock()
        try:
            page = await self._fallow.leases(limit=1000)
        except (Refused, Unreachable):
            return
        seen = [
            Sight(lease.fencing_token, lease.state, lease.holder, [member.uuid for member in lease.devices])
            for lease in page.items
        ]
        self._write(Op(self._name, Ask.READ, asked, clock(), seen=seen))

    async def _turn(self, uuids: list[str]) -> None:
        lease = await self._reserve(self._chance.sample(uuids, self._chance.choice((1, 1, 1, 2))))
        if lease is None:
            return
        if lease.state == "reserved" and not await self._until_answered(Ask.COMMIT, lease):
            return
        for _ in range(self._chance.randrange(3)):
            just = TTL_S + self._chance.uniform(-0.01, 0.01)
            await self._pause(self._chance.choice((TTL_S / 3, TTL_S / 3, just, TTL_S + 0.5)))
            if not await self._until_answered(Ask.RENEW, lease):
                return
        if self._chance.random() < 0.8:
            await self._pause(self._chance.random())
            await self._until_answered(Ask.RELEASE, lease)

    async def _pause(self, seconds: float) -> None:
        """Not longer than there is anything to do."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), max(0.0, seconds))

    async def _reserve(self, wanted: list[str]) -> Lease | None:
        self._keys += 1
        key, hold = f"{self._name} {self._keys}", self._chance.random() < 0.3
        request = None if self._chance.random() < 0.4 else Request(count=len(wanted))
        again = self._chance.random() < 0.15
        lease = None
        for _ in range(TRIES):
            asked, code = clock(), UNKNOWN
            try:
                lease = await self._fallow.reserve(
                    request, devices=() if request else wanted, holder=self._name, hold=hold, ttl_s=TTL_S, key=key
                )
                code = ""
            except Unreachable:
                pass
            except Refused as refused:
                code = _code(refused)
            op = Op(self._name, Ask.RESERVE, asked, clock(), code, key=key, ttl_s=TTL_S, hold=hold)
            self._write(op if code or lease is None else _given(op, lease))
            if not code and again:
                again = False
            elif code != UNKNOWN:
                break
        return lease

    async def _until_answered(self, ask: Ask, lease: Lease) -> bool:
        """Whether it was done."""
        for _ in range(TRIES):
            code = await self._once(ask, lease)
            if code != UNKNOWN:
                return code in ("", Fault.NOT_RESERVED)
            await asyncio.sleep(self._chance.random())
        return False

    async def _once(self, ask: Ask, lease: Lease) -> str:
        asked, ttl_s, code = clock(), TTL_S, ""
        try:
            answer = await self._call(ask, lease)
            ttl_s = answer.expires_in_s or 0.0
        except Unreachable:
            code = UNKNOWN
        except Refused as refused:
            code = _code(refused)
        self._write(Op(self._name, ask, asked, clock(), code, token=lease.fencing_token, ttl_s=ttl_s))
        return code

    async def _call(self, ask: Ask, lease: Lease) -> Lease:
        which = lease.lease_id, lease.fencing_token
        match ask:
            case Ask.COMMIT:
                return await self._fallow.commit(*which, holder=self._name, ttl_s=TTL_S)
            case Ask.RENEW:
                return await self._fallow.renew(*which, holder=self._name)
            case _:
                return await self._fallow.release(*which, holder=self._name)

    def _write(self, op: Op) -> None:
        self._log.write(line_of(op))
        self._log.flush()


def _given(op: Op, lease: Lease) -> Op:
    devices = [member.uuid for member in lease.devices]
    return op._replace(token=lease.fencing_token, devices=devices, ttl_s=lease.expires_in_s or 0.0)


def _code(refused: Refused) -> str:
    """503: the disk may have taken it after all."""
    return UNKNOWN if refused.status == 503 else refused.code or f"status {refused.status}"


async def main(url: str, name: str, count: int, path: Path, uuids: list[str]) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(SIGTERM, over.set)
    async with AsyncClient(url) as fallow:
        with path.open("w", encoding="utf-8") as log:
            await asyncio.gather(*(Holder(f"{name}-{at}", fallow, log, over).run(uuids) for at in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:]))
