"""Silences of alerts."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import moment, plain, some
from fallow_proto import api
from fallow_proto.alerts import Silence


def page(answer: api.Page[Silence]) -> Iterator[RenderableType]:
    made = table("id", "state", "matchers", "until", "by", "comment")
    for one in answer.items:
        add(made, (
            plain(one.id), plain(one.state), _matchers(one), f"{moment(one.ends_at, answer.as_of)}Z",
            plain(one.created_by), plain(one.comment),
        ))
    yield made
    yield Text("")
    yield Text(f"as of {plain(answer.as_of)}, {some(len(answer.items), 'silence')}")


def made(one: Silence) -> Iterator[RenderableType]:
    yield Text(f"{plain(one.id)}: nobody is told of {_matchers(one)} until {moment(one.ends_at)}Z; "
               f"fallow silence --end {plain(one.id)} ends it")


def ended(silence_id: str) -> Iterator[RenderableType]:
    yield Text(f"ended {plain(silence_id)}; what still fires is told")


def _matchers(one: Silence) -> str:
    return plain(" ".join(one.matchers))
