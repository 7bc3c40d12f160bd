"""Alerts, their file and delivery together: what is told over real HTTP when the collector dies at the worst moment."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.courier import Courier
from fallow_collector.alerts.sender import Sender
from fallow_collector.alerts.settings import AlertsSettings, ReceiverSettings
from fallow_collector.alerts.wire import Wire
from tests.collector.alerts.sink import Sink, answer
from tests.collector.alerts.timeline import KillableFile, Killed, Timeline


@dataclass
class OverHttp(Timeline):
    """wire: what is sent goes that way; a kill begins with a new courier, too, as it begins with new alerts."""

    wire: Wire | None = None

    def start(self) -> None:
        super().start()
        assert self.wire is not None
        receiver = self.settings.receivers[0]
        self.courier = Courier(
            Sender(receiver, "", "1", lambda: self.wall, self.wire), self.alerting,
            Attempted(receiver.name, "", lambda: self.wall), lambda: self.now, lambda: 0.5,
        )

    async def deliver(self) -> None:
        try:
            while await self.courier.attempt():
                pass
        except Killed:
            self.kill()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_sending_and_noting_it_loses_nothing_and_a_repeat_has_the_same_id(
    tmp_path: Path, moment: str
) -> None:
    async def case() -> None:
        async def deadly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(sink.got) == 1:
                assert isinstance(line.file, KillableFile)
                line.file.killed = moment  # the next transaction, which notes that it was delivered
            await answer(200)(reader, writer)

        async with Sink([deadly]) as sink:
            settings = AlertsSettings(receivers=(ReceiverSettings(name="ops", type="webhook", url=sink.url),))
            line = OverHttp(tmp_path, settings=settings, wire=Wire(ssl.create_default_context()))
            line.at(0).fire("DeviceHot", uuid="g0")
            line.at(100).resolve("DeviceHot", uuid="g0")
            await line.play(200)
            await line.alerting.close(line.now)
        told = [(got.headers["webhook-id"], json.loads(got.body)["status"]) for got in sink.got]
        first, last = told[0], told[-1]
        assert told == ([first, first, last] if moment == "before" else [first, last])
        assert first[1] == "firing"
        assert last[1] == "resolved"
        assert first[0] != last[0]

    asyncio.run(case())
