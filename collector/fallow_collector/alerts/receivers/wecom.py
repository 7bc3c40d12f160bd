"""Type wecom: a robot of a WeCom (WeChat Work) group.

Sources: developer.work.weixin.qq.com/document/path/91770; markdown has at most 4,096 bytes (40058 beyond it:
dromara/domain-admin issue 82); too much sent is 45009 (WecomTeam/wecom-openclaw-plugin issue 48). Its secret is the
key in the URL; it knows no signature.
"""

import msgspec

from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.text import bytes_of, fitted, text_of
from fallow_collector.alerts.receivers.verdict import Verdict, of_code

CONTENT = 4096
TOO_FAST = 45009
WIDE = str.maketrans("<>[]`*", "＜＞［］｀＊")
"""Its markdown has no escape, so what would be markup, such as <@all>, is written with the wide letters of Chinese."""


def render(notification: Notification, context: Context) -> Request:
    text = text_of(notification, context.external_url)
    title = f"**{escaped(text.title)}**"
    lines = fitted(text, lambda line: bytes_of(f"\n{escaped(line)}"), CONTENT - bytes_of(title))
    content = "\n".join([title, *map(escaped, lines)])
    return posted(context, msgspec.json.encode({"msgtype": "markdown", "markdown": {"content": content}}))


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    return of_code(status, headers, body, ("errcode",), lambda code, _: code == TOO_FAST)


def escaped(text: str) -> str:
    return text.translate(WIDE)
