"""Type webhook: Alertmanager's payload of version 4, signed as Standard Webhooks where there is a key.

Sources: prometheus/alertmanager template/template.go (Data, Alert) and notify/webhook/webhook.go (Message: version,
groupKey, truncatedAlerts); the signature: standard-webhooks/standard-webhooks spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers.golang import NEVER, instant
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.verdict import Verdict, of_status

PREFIX = "whsec_"
"""Of a key in base64; a key without it is taken as it stands."""


def render(notification: Notification, context: Context) -> Request:
    body = msgspec.json.encode(_message(notification, context.external_url))
    signed = _signed(notification.id, body, context)
    return posted(context, body, headers=signed, secrets=tuple(signed.get("webhook-signature", "").split()))


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    return of_status(status, headers, body)


def sign(key: str, identity: str, at: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of "identity.at.body" in base64."""
    digest = hmac.digest(key_bytes(key), f"{identity}.{at}.".encode() + body, sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def key_bytes(key: str) -> bytes:
    """Raises ValueError, which does not repeat the key."""
    if not key.startswith(PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"a key begins with {PREFIX}, and what follows is not base64") from None


def generator_url(external_url: str, fingerprint: str) -> str:
    return f"{external_url.rstrip('/')}/?alert={fingerprint}" if external_url else ""


def _message(notification: Notification, external_url: str) -> dict[str, object]:
    alerts = notification.alerts
    return {
        "receiver": notification.receiver,
        "status": "firing" if notification.firing else "resolved",
        "alerts": [_alert(alert, external_url) for alert in alerts],
        "groupLabels": notification.group_labels,
        "commonLabels": _common(alert.labels for alert in alerts),
        "commonAnnotations": _common(alert.annotations for alert in alerts),
        "externalURL": external_url,
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.truncated,
        "notification_reason": notification.reason,
    }


def _alert(alert: Alert, external_url: str) -> dict[str, object]:
    """A firing one ends at Go's zero time, so that it cannot be taken for resolved as time goes on."""
    resolved = alert.state == State.RESOLVED
    return {
        "status": "resolved" if resolved else "firing",
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": instant(alert.active_at if alert.fired_at is None else alert.fired_at),
        "endsAt": instant(alert.resolved_at) if resolved and alert.resolved_at is not None else NEVER,
        "generatorURL": generator_url(external_url, alert.fingerprint),
        "fingerprint": alert.fingerprint,
    }


def _common(maps: Iterable[dict[str, str]]) -> dict[str, str]:
    """What all have alike."""
    first, *others = maps
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _signed(identity: str, body: bytes, context: Context) -> dict[str, str]:
    """One signature a key, so that receiver and sender need not change keys at the same moment."""
    at = int(context.at)
    told = {"webhook-id": identity, "webhook-timestamp": str(at)}
    if context.keys:
        told["webhook-signature"] = " ".join(sign(key, identity, at, body) for key in context.keys)
    return told
