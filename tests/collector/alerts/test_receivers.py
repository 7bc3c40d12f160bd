"""What each type of receiver is sent, and what its replies mean."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.receivers import KINDS, dingtalk, feishu, webhook
from fallow_collector.alerts.receivers.alertmanager import Sent, due, render
from fallow_collector.alerts.receivers.golang import instant
from fallow_collector.alerts.receivers.request import Context
from fallow_collector.alerts.receivers.verdict import Again, Delivered, Refused, Verdict, retry_after
from tests.collector.alerts.shelf import START, alert, notification

AT = START + 100.0


def context(*keys: str, url: str = "https://hooks.example.com/x?key=k", token: str = "") -> Context:
    return Context(url, keys, token, "http://fallow.example.com:4918", "1.2.3", AT)


def body_of(kind: str, told: Notification, *keys: str) -> dict[str, object]:
    document = json.loads(KINDS[kind].render(told, context(*keys)).body)
    assert isinstance(document, dict)
    return document


def test_a_webhook_is_sent_alertmanagers_payload_of_version_4() -> None:
    told = notification("a1", alert(1), alert(2, State.RESOLVED), truncated=7)
    assert body_of("webhook", told) == {
        "version": "4",
        "groupKey": '{}:{alertname="DeviceHot", site="s1"}',
        "truncatedAlerts": 7,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": {"alertname": "DeviceHot", "site": "s1"},
        "commonLabels": {"alertname": "DeviceHot", "severity": "warning", "site": "s1"},
        "commonAnnotations": {},
        "externalURL": "http://fallow.example.com:4918",
        "notification_reason": "first notification",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "DeviceHot", "severity": "warning", "site": "s1", "node": "n1"},
                "annotations": {"summary": "device of n1 is hot"},
                "startsAt": "2023-11-14T22:13:20Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": f"http://fallow.example.com:4918/?alert={alert(1).fingerprint}",
                "fingerprint": alert(1).fingerprint,
            },
            {
                "status": "resolved",
                "labels": {"alertname": "DeviceHot", "severity": "warning", "site": "s1", "node": "n2"},
                "annotations": {"summary": "device of n2 is hot"},
                "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-14T22:14:50.5Z",
                "generatorURL": f"http://fallow.example.com:4918/?alert={alert(2).fingerprint}",
                "fingerprint": alert(2).fingerprint,
            },
        ],
    }


def test_a_webhook_of_resolved_alerts_alone_is_resolved() -> None:
    assert body_of("webhook", notification("a1", alert(1, State.RESOLVED)))["status"] == "resolved"


@pytest.mark.parametrize(("at", "text"), [
    (0.0, "1970-01-01T00:00:00Z"), (1700000000.25, "2023-11-14T22:13:20.25Z"), (10.0, "1970-01-01T00:00:10Z"),
    (1699999999.9999, "2023-11-14T22:13:20Z"),
])
def test_times_are_written_as_go_does(at: float, text: str) -> None:
    assert instant(at) == text


def test_the_signature_is_that_of_the_standard_webhooks_specification() -> None:
    signed = webhook.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_key_without_the_prefix_is_taken_as_it_stands() -> None:
    """By openssl dgst -sha256 -hmac."""
    assert webhook.sign("plain words", "a1", 1700000000, b"{}") == "v1,0exEVn/TMDYwDihBA1JsEQx09J3PuEWeoElshvmPBps="


def test_feishus_signature() -> None:
    """By openssl dgst -sha256 -mac HMAC -macopt hexkey:…, of nothing."""
    assert feishu.sign("xxxxxxxxxxxxxxxxxxxxx", 1599360473) == "iI+GNAMmyYHhBwPmelGfIE8Pi+xohT4IQ9rTaeB+ouY="


def test_dingtalks_signature() -> None:
    """By openssl dgst -sha256 -hmac."""
    assert dingtalk.sign("SECfallow", 1577262236757) == "EY5BP7bvP2OAkBNcDxLC+mHmTBr4c9e+oqV2fXyk2Jw="


def test_a_webhook_says_who_it_is_and_when_and_is_signed_once_a_key() -> None:
    request = webhook.render(notification(), context("first key", "second key", token="t0ken"))
    assert request.headers == {
        "content-type": "application/json", "user-agent": "fallow/1.2.3", "authorization": "Bearer t0ken",
        "webhook-id": "a1", "webhook-timestamp": "1700000100",
        "webhook-signature": " ".join(
            webhook.sign(key, "a1", 1700000100, request.body) for key in ("first key", "second key")
        ),
    }
    assert request.secrets == (*request.headers["webhook-signature"].split(), "t0ken")


@pytest.mark.parametrize("kind", KINDS)
def test_user_and_password_of_a_url_become_basic_authentication(kind: str) -> None:
    request = KINDS[kind].render(notification(), context(url="https://ops:p%40ss@hooks.example.com/x"))
    assert request.headers["authorization"] == "Basic b3BzOnBAc3M="
    assert "b3BzOnBAc3M=" in request.secrets


def test_a_webhook_without_a_key_has_an_id_and_no_signature() -> None:
    headers = webhook.render(notification(), context()).headers
    assert headers["webhook-id"] == "a1"
    assert "webhook-signature" not in headers
    assert "authorization" not in headers


def test_slack_is_sent_a_header_and_a_section_in_which_no_label_is_markup() -> None:
    told = notification("a1", alert(1, node="<!channel> & <@U1>"))
    assert body_of("slack", told) == {
        "text": "[FIRING:1] DeviceHot s1",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "[FIRING:1] DeviceHot s1", "emoji": False}},
            {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": (
                "firing · warning · device of n1 is hot · node=&lt;!channel&gt; &amp; &lt;@U1&gt; · "
                "since 2023-11-14 22:12:50 UTC\n<http://fallow.example.com:4918>"
            )}},
        ],
    }


def test_feishu_is_sent_a_signed_post_of_plain_paragraphs() -> None:
    assert body_of("feishu", notification("a1", alert(1, State.RESOLVED)), "k") == {
        "timestamp": "1700000100", "sign": feishu.sign("k", 1700000100), "msg_type": "post",
        "content": {"post": {"zh_cn": {"title": "[RESOLVED:1] DeviceHot s1", "content": [
            [{"tag": "text", "text": (
                "resolved · warning · device of n1 is hot · node=n1 · at 2023-11-14 22:14:50 UTC"
            )}],
            [{"tag": "text", "text": "http://fallow.example.com:4918"}],
        ]}}},
    }
    assert "sign" not in body_of("feishu", notification())


def test_dingtalk_is_sent_markdown_to_an_address_that_is_signed() -> None:
    request = dingtalk.render(
        notification("a1", alert(1, node="a_b[x](http://e)<b>")), context("k", url="https://o.example/send?access_token=t")
    )
    query = parse_qs(urlsplit(request.url).query)
    at_ms = 1700000100000
    assert query == {"access_token": ["t"], "timestamp": [str(at_ms)], "sign": [dingtalk.sign("k", at_ms)]}
    assert json.loads(request.body) == {"msgtype": "markdown", "markdown": {
        "title": "[FIRING:1] DeviceHot s1",
        "text": (
            "#### \\[FIRING:1\\] DeviceHot s1\n\nfiring · warning · device of n1 is hot · "
            "node=a\\_b\\[x\\](http://e)&lt;b&gt; · since 2023-11-14 22:12:50 UTC\n\nhttp://fallow.example.com:4918"
        ),
    }}
    assert dingtalk.render(notification(), context(url="https://o.example/send")).url == "https://o.example/send"


def test_wecom_is_sent_markdown_in_which_nobody_can_be_called() -> None:
    document = body_of("wecom", notification("a1", alert(1, node="<@all>")))
    assert document == {"msgtype": "markdown", "markdown": {"content": (
        "**［FIRING:1］ DeviceHot s1**\nfiring · warning · device of n1 is hot · node=＜@all＞ · "
        "since 2023-11-14 22:12:50 UTC\nhttp://fallow.example.com:4918"
    )}}


LABELS = st.text(st.characters(codec="utf-8"), max_size=1500)


@settings(deadline=None)
@given(st.lists(LABELS, min_size=1, max_size=60), st.integers(0, 10_000))
def test_whatever_the_alerts_say_a_message_keeps_the_limits_and_its_counts_are_exact(
    nodes: list[str], truncated: int
) -> None:
    told = notification("a1", *(alert(number, node=node) for number, node in enumerate(nodes)), truncated=truncated)
    slack = body_of("slack", told)
    section = slack["blocks"][1]["text"]["text"]  # type: ignore[index]
    assert len(section) <= 3000
    assert len(slack["blocks"][0]["text"]["text"]) <= 150  # type: ignore[index]
    wecom = body_of("wecom", told)["markdown"]["content"]  # type: ignore[index]
    assert len(wecom.encode()) <= 4096
    feishu_body = KINDS["feishu"].render(told, context("k")).body
    dingtalk_body = KINDS["dingtalk"].render(told, context("k")).body
    assert len(feishu_body) <= 20_000
    assert len(dingtalk_body) <= 20_000
    paragraphs = json.loads(feishu_body)["content"]["post"]["zh_cn"]["content"]
    for lines in (
        section.split("\n"), wecom.split("\n")[1:], [each[0]["text"] for each in paragraphs],
        json.loads(dingtalk_body)["markdown"]["text"].split("\n\n")[1:],
    ):
        shown = sum(line.startswith("firing · ") for line in lines)
        missing = sum(int(line.split()[1]) for line in lines if line.startswith("and "))
        assert shown + missing == len(nodes) + truncated


def test_ten_thousand_alerts_are_one_message_of_exact_counts() -> None:
    told = notification("a1", *(alert(number) for number in range(200)), truncated=9_800)
    content = body_of("wecom", told)["markdown"]["content"]  # type: ignore[index]
    assert content.startswith("**［FIRING:200, 9800 more］ DeviceHot s1**")
    shown = content.count("firing · ")
    assert f"and {10_000 - shown} more that are not shown here" in content


def verdict_of(kind: str, status: int, body: bytes = b"", **headers: str) -> Verdict:
    return KINDS[kind].verdict(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(("status", "expected"), [
    (200, Delivered), (201, Delivered), (202, Delivered), (204, Delivered),
    (301, Refused), (302, Refused), (304, Refused), (307, Refused), (308, Refused),
    (400, Refused), (401, Refused), (403, Refused), (404, Refused), (410, Refused), (413, Refused), (422, Refused),
    (408, Again), (425, Again), (429, Again), (500, Again), (502, Again), (503, Again), (504, Again), (599, Again),
])
def test_statuses_of_a_webhook(status: int, expected: type[Verdict]) -> None:
    assert isinstance(verdict_of("webhook", status), expected)


def test_a_problem_says_what_came_and_what_was_expected() -> None:
    assert verdict_of("webhook", 503, b"over\nloaded\x1b[0m ", retry_after="7") == Again(
        7.0, "it answered 503 and said 'over loaded[0m'; expected 2xx"
    )
    assert verdict_of("webhook", 302) == Refused(
        "it answered 302, a redirect, which is never followed; expected 2xx: set the address it leads to"
    )


@pytest.mark.parametrize(("text", "expected"), [
    ("120", 120.0), ("0", 0.0), ("Tue, 14 Nov 2023 22:15:00 GMT", 100.0), ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
    ("", None), ("soon", None), ("-5", None), ("1e9", None), ("²", None), ("9" * 400, 999999999.0),
])
def test_retry_after(text: str, expected: float | None) -> None:
    assert retry_after({"retry-after": text, "date": "Tue, 14 Nov 2023 22:13:20 GMT"}) == expected


def test_a_date_to_come_back_at_means_nothing_without_the_date_of_the_reply() -> None:
    assert retry_after({"retry-after": "Tue, 14 Nov 2023 22:15:00 GMT"}) is None


@pytest.mark.parametrize(("kind", "status", "body", "expected"), [
    ("feishu", 200, b'{"code":0,"msg":"success","data":{}}', Delivered),
    ("feishu", 200, b'{"StatusCode":0,"StatusMessage":"success"}', Delivered),
    ("feishu", 200, b'{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}', Refused),
    ("feishu", 200, b'{"code":11232,"msg":"frequency limited"}', Again),
    ("feishu", 400, b'{"code":9499,"msg":"too many request","data":{}}', Again),
    ("feishu", 400, b'{"code":9499,"msg":"Bad Request","data":{}}', Refused),
    ("dingtalk", 200, b'{"errcode":0,"errmsg":"ok"}', Delivered),
    ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}', Refused),
    ("dingtalk", 200, b'{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}', Again),
    ("wecom", 200, b'{"errcode":0,"errmsg":"ok"}', Delivered),
    ("wecom", 200, b'{"errcode":93000,"errmsg":"invalid webhook url"}', Refused),
    ("wecom", 200, b'{"errcode":45009,"errmsg":"api freq out of limit"}', Again),
    ("wecom", 503, b'{"errcode":0}', Again),
    ("wecom", 200, b'{"errcode":false}', Again),
    ("wecom", 200, b"<html>log in to this network</html>", Again),
    ("wecom", 200, b"", Again),
    ("wecom", 200, b"[" * 60_000, Again),
    ("wecom", 404, b"gone", Refused),
    ("dingtalk", 302, b"", Refused),
    ("slack", 200, b"ok", Delivered),
    ("slack", 200, b'{"ok":true}', Delivered),
    ("slack", 200, b'{"ok":false,"error":"no_text"}', Refused),
    ("slack", 200, b"<html>", Refused),
    ("slack", 404, b"no_service", Refused),
    ("slack", 429, b"", Again),
    ("slack", 500, b"rollup_error", Again),
])
def test_what_a_chat_says_counts_and_not_its_status_alone(
    kind: str, status: int, body: bytes, expected: type[Verdict]
) -> None:
    assert isinstance(verdict_of(kind, status, body), expected)


def posted(*alerts: Alert) -> object:
    return json.loads(render(alerts, context(url="http://am:9093/prefix/")).body)


def test_alertmanager_is_told_that_a_firing_alert_ends_unless_it_is_renewed() -> None:
    assert render([alert()], context(url="http://am:9093/prefix/")).url == "http://am:9093/prefix/api/v2/alerts"
    assert posted(alert(1, rack=""), alert(2, State.RESOLVED)) == [
        {
            "labels": {"alertname": "DeviceHot", "severity": "warning", "site": "s1", "node": "n1"},
            "annotations": {"summary": "device of n1 is hot"},
            "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-14T22:19:00Z",  # four minutes from now
            "generatorURL": f"http://fallow.example.com:4918/?alert={alert(1, rack='').fingerprint}",
        },
        {
            "labels": {"alertname": "DeviceHot", "severity": "warning", "site": "s1", "node": "n2"},
            "annotations": {"summary": "device of n2 is hot"},
            "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-14T22:14:50.5Z",
            "generatorURL": f"http://fallow.example.com:4918/?alert={alert(2).fingerprint}",
        },
    ]


def test_what_is_new_or_changed_is_sent_at_once_and_the_rest_once_a_minute() -> None:
    sent = {
        alert(1).fingerprint: Sent(State.FIRING, 100.0), alert(2).fingerprint: Sent(State.FIRING, 100.0),
        alert(3).fingerprint: Sent(State.RESOLVED, 41.0),
    }
    alerts = [alert(1), alert(2, State.RESOLVED), alert(3, State.RESOLVED), alert(4)]
    assert due(alerts, sent, 100.9) == [alerts[1], alerts[3]]
    assert due(alerts, sent, 101.0) == alerts[1:]
    assert due(alerts, sent, 160.0) == alerts


def test_nothing_secret_is_in_a_repr() -> None:
    secret = context("k3y", url="https://hooks.example.com/s3cret", token="t0ken")
    shown = repr(secret) + repr(webhook.render(notification(), secret))
    for word in ("k3y", "s3cret", "t0ken", "v1,"):
        assert word not in shown
