"""Receivers of notifications, a file each. Each is pure: a request from a notification, a verdict from a reply."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers import dingtalk, feishu, slack, webhook, wecom
from fallow_collector.alerts.receivers.request import Context, Request
from fallow_collector.alerts.receivers.verdict import Verdict


class Kind(NamedTuple):
    """verdict: of status, headers (names in small letters) and the start of the body."""

    render: Callable[[Notification, Context], Request]
    verdict: Callable[[int, dict[str, str], bytes], Verdict]


KINDS: Mapping[str, Kind] = {
    "webhook": Kind(webhook.render, webhook.verdict),
    "slack": Kind(slack.render, slack.verdict),
    "feishu": Kind(feishu.render, feishu.verdict),
    "dingtalk": Kind(dingtalk.render, dingtalk.verdict),
    "wecom": Kind(wecom.render, wecom.verdict),
}
"""By the type of a receiver. Type alertmanager is told of alerts, not of notifications (`receivers.alertmanager`)."""
