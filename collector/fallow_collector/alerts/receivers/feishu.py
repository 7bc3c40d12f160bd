"""Type feishu: a custom bot of Feishu or Lark.

Sources: open.feishu.cn/document/client-docs/bot-v3/add-custom-bot, as quoted in leesinz/Athena notifications/feishu.py
(the signature is the HMAC of nothing, with "timestamp\\nsecret" as its key); a body has at most 20 KB
(caronc/apprise NotifyFeishu); too much sent is code 11232, or 9499 "too many request" with HTTP 400
(ccfos/nightingale issue 1437).
"""

import base64
import hmac
from hashlib import sha256

import msgspec

from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.text import fitted, text_of
from fallow_collector.alerts.receivers.verdict import Verdict, of_code

BODY = 20_000
NAMES = ("code", "StatusCode")
"""Old bots say only the second."""


def render(notification: Notification, context: Context) -> Request:
    """A post of paragraphs of plain text, in which nothing is markup, so that nothing needs escaping."""
    text = text_of(notification, context.external_url)
    signed = _signed(context)
    frame = len(_body(text.title, [], signed))
    lines = fitted(text, lambda line: len(msgspec.json.encode([_paragraph(line)])), BODY - frame)
    return posted(context, _body(text.title, lines, signed), secrets=(signed.get("sign", ""),))


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    return of_code(status, headers, body, NAMES, _is_busy)


def sign(key: str, at: int) -> str:
    """at: unix seconds."""
    return base64.b64encode(hmac.digest(f"{at}\n{key}".encode(), b"", sha256)).decode()


def _signed(context: Context) -> dict[str, str]:
    at = int(context.at)
    return {"timestamp": str(at), "sign": sign(context.keys[0], at)} if context.keys else {}


def _body(title: str, lines: list[str], signed: dict[str, str]) -> bytes:
    post = {"zh_cn": {"title": title, "content": [_paragraph(line) for line in lines]}}
    return msgspec.json.encode({**signed, "msg_type": "post", "content": {"post": post}})


def _paragraph(line: str) -> list[dict[str, str]]:
    return [{"tag": "text", "text": line}]


def _is_busy(code: int, said: str) -> bool:
    return code == 11232 or (code == 9499 and "too many request" in said.lower())
