"""What the HTTP API asks about alerts, over a timeline: the real parts, at a moment that the test chooses."""

import asyncio
from pathlib import Path

from fallow_collector.alerts.deliver import Delivery
from fallow_collector.alerts.rule import Inhibition
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.answers.alerts import Alerts
from tests.collector.alerts.timeline import Timeline, receiver, rule

LOST = Inhibition(('alertname="NodeLost"',), ('alertname="DeviceHot"',), ("node",), "rules.toml:9")


class Desk:
    """Firing: g0, g1, g2 of node n1 are hot, and n2 with its g3 is lost; g4 is pending, g5 was hot. Receiver ops is at
    an address at which nobody listens."""

    def __init__(self, folder: Path) -> None:
        settings = AlertsSettings(receivers=(receiver(),), group_by=("alertname",))
        self.line = Timeline(
            folder, rules=(rule("DeviceHot"), rule("NodeLost"), rule("LinkSlow", for_s=60)), inhibitions=(LOST,),
            settings=settings,
        )
        for moment in range(3):
            self.line.at(moment).fire("DeviceHot", node="n1", uuid=f"g{moment}")
        self.line.at(3).fire("DeviceHot", node="n2", uuid="g3")
        self.line.at(3).fire("NodeLost", node="n2")
        self.line.at(4).fire("LinkSlow", node="n1", uuid="g4")
        self.line.at(4).fire("DeviceHot", node="n1", uuid="g5")
        self.line.at(5).resolve("DeviceHot", node="n1", uuid="g5")
        self.line.down.add("ops")
        asyncio.run(self.line.play(20))
        self.delivery = Delivery(
            settings.receivers, self.line.alerting, self.line.alerting, external_url="", version="0.0.0",
            now=lambda: self.line.now, wall=lambda: self.line.wall, random=lambda: 0.5,
        )
        self.alerts = Alerts(self.line.alerting, self.delivery, settings, lambda: self.line.wall)

    def close(self) -> None:
        asyncio.run(self.delivery.stop())
        asyncio.run(self.line.alerting.close(self.line.now))
