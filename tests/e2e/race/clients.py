"""Clients that race for devices: `python clients.py URL COUNT SECONDS LOG`. They know HTTP and nothing of Fallow.

Each asks for devices by name or by number, keeps them for a while, renews or not, and gives them back or just forgets
them. What it did and was told goes to the log, a line of JSON each, with the machine's monotonic clock. The collector
may vanish at any moment: what is not answered is asked again with the same idempotency key, as a client should.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, TextIO
from uuid import uuid4

import httpx

TTL_S = 5.0
PATIENCE_S = 20.0  # for the collector to come back

Answer = tuple[int, dict[str, Any], float]
"""Status, body, and when the question was sent that was answered."""


class Racer:
    def __init__(self, number: int, http: httpx.AsyncClient, log: TextIO, until: float) -> None:
        self._name = f"racer-{number}"
        self._random = Random(number)
        self._http = http
        self._log = log
        self._until = until

    async def run(self, uuids: list[str]) -> None:
        while time.monotonic() < self._until:
            await self._turn(uuids)
            await asyncio.sleep(self._random.random() * 0.3)

    async def _turn(self, uuids: list[str]) -> None:
        wanted = self._random.sample(uuids, self._random.choice((1, 1, 2)))
        body: dict[str, Any] = {"holder": self._name, "ttl_s": TTL_S, "key": uuid4().hex}
        by_name = self._random.random() < 0.7
        body |= {"devices": wanted} if by_name else {"request": {"count": len(wanted)}}
        hold = self._random.random() < 0.3
        first = await self._ask("reserve", "/api/v1/leases", body | ({"hold": True} if hold else {}))
        if first is None or first[0] != 201:
            return
        lease, sent = first[1], first[2]
        if self._random.random() < 0.1:
            again = await self._ask("again", "/api/v1/leases", body | ({"hold": True} if hold else {}))
            if again is not None and again[0] == 201:
                self._write("same", lease=lease["lease_id"], also=again[1]["lease_id"])
        path = f"/api/v1/leases/{lease['lease_id']}"
        claim = {"fencing_token": lease["fencing_token"], "holder": self._name}
        self._own(lease, sent)
        if hold:
            answer = await self._ask("commit", f"{path}/commit", claim)
            if answer is None or answer[0] != 200:
                return  # the hold ends by itself
            self._own(answer[1], answer[2])
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(self._random.random() * TTL_S / 3)
            answer = await self._ask("renew", f"{path}/renew", claim)
            if answer is None or answer[0] != 200:
                return
            self._own(answer[1], answer[2])
        if self._random.random() < 0.85:
            self._write("release", lease=lease["lease_id"])
            await self._ask("released", f"{path}/release", claim | {"outcome": "ok"})

    def _own(self, lease: dict[str, Any], sent: float) -> None:
        """From now until a TTL after the question was sent, whatever the collector's clock says."""
        self._write(
            "own", lease=lease["lease_id"], token=lease["fencing_token"], until=sent + TTL_S,
            devices=[member["uuid"] for member in lease["devices"]],
        )

    async def _ask(self, what: str, path: str, body: dict[str, Any]) -> Answer | None:
        """The answer, once there is one; None: none within the patience, or the race is over."""
        deadline = min(time.monotonic() + PATIENCE_S, self._until)
        while True:
            sent = time.monotonic()
            try:
                answer = await self._http.post(path, json=body)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    return None
                await asyncio.sleep(0.1 + self._random.random() * 0.2)
                continue
            found = answer.json()
            took_s = time.monotonic() - sent
            self._write("answer", to=what, status=answer.status_code, code=found.get("code"), took_s=took_s)
            if answer.status_code == 503 and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                continue
            return answer.status_code, found, sent

    def _write(self, what: str, **facts: Any) -> None:
        self._log.write(json.dumps({"what": what, "who": self._name, "at": time.monotonic(), **facts}) + "\n")


async def main(url: str, count: int, seconds: float, path: Path) -> None:
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=10.0, trust_env=False) as http:
        found = (await http.get("/api/v1/devices", params={"limit": 10_000})).json()
        uuids = [device["uuid"] for device in found["items"]]
        until = time.monotonic() + seconds
        with path.open("a", encoding="utf-8") as log:
            await asyncio.gather(*(Racer(number, http, log, until).run(uuids) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
