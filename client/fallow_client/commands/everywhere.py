"""Answers of several collectors, one under the other."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from rich.console import RenderableType
from rich.text import Text

from fallow_client.across import Across
from fallow_client.commands.terminal import ANSWERED, FAILED, NO_CAPACITY, show, show_json
from fallow_client.views.sites import heading, standing

Answer = TypeVar("Answer")


def show_across(
    args: Namespace, found: Across[Answer], view: Callable[[Answer], Iterable[RenderableType]], summary: str
) -> None:
    """Each answer under its site's name; then the whole, and a line for each site that is missing or incomplete."""
    if args.json:
        show_json(msgspec.json.encode(found))
        return
    for site, answer in found.answers.items():
        show([heading(site)])
        show(view(answer))
        show([Text("")])
    show([Text(summary)] if summary else [])
    show(standing(found))


def status_of(found: Across[Answer], any_capacity: bool) -> int:
    """A site that did not answer may have had capacity: then "no capacity" is not an answer."""
    if any_capacity:
        return ANSWERED
    return FAILED if found.missing else NO_CAPACITY


def answered(found: Across[Answer]) -> int:
    return ANSWERED if found.answers else FAILED


def names_of(urls: Iterable[str]) -> dict[str, str]:
    """URLs by what tells them apart for people: host and port."""
    named: dict[str, str] = {}
    for url in urls:
        name = _place(url) or url
        named[url if name in named else name] = url
    return named


def _place(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
