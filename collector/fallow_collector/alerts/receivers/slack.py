"""Type slack: an incoming webhook, of Slack or of what speaks like it (Mattermost, Rocket.Chat).

Sources: docs.slack.dev "Formatting message text" (& < > are escaped) and "Blocks" (a section's text has at most 3,000
characters, a header's 150; a message of long blocks is refused from some 13,000 on: slackapi/bolt-js issue 2509); the
plain "ok" of success: prometheus/alertmanager notify/slack/slack.go checkTextResponseError. Its secret is the URL.
"""

import msgspec

from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.text import fitted, text_of
from fallow_collector.alerts.receivers.verdict import Delivered, Refused, Verdict, of_status, said

SECTION = 3000
ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""So that no label can call everybody by <!channel>; for the same reason the section is verbatim."""


def render(notification: Notification, context: Context) -> Request:
    text = text_of(notification, context.external_url)

    def shown(line: str) -> str:
        return f"<{escaped(line)}>" if line == text.link else escaped(line)

    lines = fitted(text, lambda line: len(shown(line)) + 1, SECTION)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": text.title, "emoji": False}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(map(shown, lines)), "verbatim": True}},
    ]
    return posted(context, msgspec.json.encode({"text": escaped(text.title), "blocks": blocks}))


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    """A reply of 200 may still be a refusal."""
    by_status = of_status(status, headers, body)
    if not isinstance(by_status, Delivered) or _is_ok(body):
        return by_status
    return Refused(f"it answered {status}{said(body)}; expected the word ok")


def escaped(text: str) -> str:
    return text.translate(ESCAPED)


def _is_ok(body: bytes) -> bool:
    if body.strip() == b"ok":
        return True
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(reply, dict) and reply.get("ok") is True
