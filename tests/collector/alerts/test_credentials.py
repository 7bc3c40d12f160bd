"""The files with what is secret of a receiver."""

from pathlib import Path

import msgspec
import pytest

from fallow_collector.alerts.credentials import Credentials, read, without_secrets
from fallow_collector.alerts.receivers.request import Request
from fallow_collector.alerts.settings import ReceiverSettings, ReceiverType
from fallow_proto.settings import SettingsError


def file(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / f"file{len(list(folder.iterdir()))}"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def receiver(kind: ReceiverType = "webhook", **files: str) -> ReceiverSettings:
    where = {} if "url_file" in files else {"url": "https://hooks.example.com/x"}
    return msgspec.convert({"name": "ops", "type": kind, **where, **files}, ReceiverSettings)


def test_keys_are_one_a_line_and_a_url_may_be_in_a_file(tmp_path: Path) -> None:
    assert read(receiver(
        url_file=file(tmp_path, "https://hooks.example.com/T/B\n"), secret_file=file(tmp_path, "a new key\n\n old \n"),
        token_file=file(tmp_path, "t0ken\n"),
    )) == Credentials("https://hooks.example.com/T/B", ("a new key", "old"), "t0ken")


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = file(tmp_path, "first")
    assert read(receiver(secret_file=path)).keys == ("first",)
    Path(path).write_text("second")
    assert read(receiver(secret_file=path)).keys == ("second",)


@pytest.mark.parametrize(("key", "text", "mode", "expected"), [
    ("secret_file", "s3cret", 0o644, "receiver 'ops': secret_file: .* has mode 0644, so that everybody may read it"),
    ("secret_file", "", 0o600, "receiver 'ops': secret_file: .* is empty"),
    ("secret_file", "whsec_s3cret!", 0o600, "receiver 'ops': .*: a key begins with whsec_, and what follows is not"),
    ("token_file", "s3cret and more", 0o600, "receiver 'ops': .* holds no token; expected one word of ASCII"),
    ("token_file", "s3cret\nsecond", 0o600, "receiver 'ops': .* holds no token; expected one word of ASCII"),
    ("url_file", "ftp://s3cret/", 0o600, "receiver 'ops': its url is not one; expected such as https://"),
])
def test_a_bad_file_is_named_and_its_text_is_not(tmp_path: Path, key: str, text: str, mode: int, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as bad:
        read(receiver("webhook", **{key: file(tmp_path, text, mode)}))
    assert "s3cret" not in str(bad.value)


def test_a_key_of_a_robot_may_begin_as_it_likes(tmp_path: Path) -> None:
    assert read(receiver("dingtalk", secret_file=file(tmp_path, "whsec_!"))).keys == ("whsec_!",)


def test_what_a_receiver_repeats_of_our_secrets_is_taken_out() -> None:
    url = "https://u:pa%20ssword@h.example/send/S%2FCRETpath?key=k3y-k3y"
    credentials = Credentials(url, ("s1gning",), "t0ken-t0ken")
    request = Request("POST", f"{url}&sign=abc%2Fdef%3D", {}, b"", ("v1,sign/ature",))
    body = (
        b'{"code": 7, "msg": "send to \\/send\\/S%2FCRETpath?key=k3y-k3y of u:pa ssword, pa%20ssword: '
        b'S/CRETpath, s1gning, t0ken-t0ken, v1,sign\\/ature, abc/def= and abc%2Fdef%3D, h.example"}'
    )
    cleaned = without_secrets(body, credentials, request).decode()
    for secret in ("CRETpath", "k3y-k3y", "ssword", "s1gning", "t0ken", "ature", "abc"):
        assert secret not in cleaned
    assert cleaned.startswith('{"code": 7, "msg": "send to ')
    assert cleaned.endswith(', h.example"}')


def test_nothing_secret_is_in_a_repr() -> None:
    assert "s3cret" not in repr(Credentials("https://h/s3cret", ("s3cret",), "s3cret"))
