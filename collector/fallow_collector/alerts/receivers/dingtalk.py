"""Type dingtalk: a custom robot of a DingTalk group.

Sources: timonwong/prometheus-webhook-dingtalk notifier/notification.go (signature in the query, markdown message) and
template/funcs.go (what is escaped); caronc/apprise NotifyDingTalk.get_signature; a body has at most 20,000 bytes
(the same project's issue 30: 460101); more than 20 a minute is 130101 (ccfos/nightingale issue 369).
"""

import base64
import hmac
from hashlib import sha256
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.text import fitted, text_of
from fallow_collector.alerts.receivers.verdict import Verdict, of_code

BODY = 20_000
TOO_FAST = 130101
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\_*`[]"})


def render(notification: Notification, context: Context) -> Request:
    text = text_of(notification, context.external_url)
    frame = len(_body(text.title, []))
    lines = fitted(text, lambda line: len(msgspec.json.encode(f"\n\n{escaped(line)}")), BODY - frame)
    return posted(context, _body(text.title, lines), url=_signed(context))


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    return of_code(status, headers, body, ("errcode",), lambda code, _: code == TOO_FAST)


def sign(key: str, at_ms: int) -> str:
    """at_ms: unix milliseconds."""
    return base64.b64encode(hmac.digest(key.encode(), f"{at_ms}\n{key}".encode(), sha256)).decode()


def escaped(text: str) -> str:
    return escape(text.translate(SPECIAL), quote=False)


def _body(title: str, lines: list[str]) -> bytes:
    shown = "\n\n".join([f"#### {escaped(title)}", *map(escaped, lines)])
    return msgspec.json.encode({"msgtype": "markdown", "markdown": {"title": title, "text": shown}})


def _signed(context: Context) -> str:
    if not context.keys:
        return context.url
    at_ms = int(context.at * 1000)
    signature = urlencode({"timestamp": at_ms, "sign": sign(context.keys[0], at_ms)})
    parts = urlsplit(context.url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{signature}" if parts.query else signature))
