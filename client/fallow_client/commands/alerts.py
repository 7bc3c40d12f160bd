"""`fallow alerts`: what is wrong, by which rule, and who is told."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rich.console import RenderableType

from fallow_client import calls
from fallow_client.calls import Call, Which
from fallow_client.client import Client
from fallow_client.commands.devices import one_cursor_is_of_one, page_arguments
from fallow_client.commands.everywhere import answered, show_across
from fallow_client.commands.terminal import ANSWERED, FAILED, Misused, add_filters, answer
from fallow_client.sites import Sites
from fallow_client.views import alerts as views


class _Question(NamedTuple):
    call: Call[Any]
    view: Callable[[Any], Iterable[RenderableType]]


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", choices=("rules", "receivers", "test"),
        help="rules: what is looked for; receivers: who is told, and how that goes; test: send one of them a message "
             "(default: the alerts)",
    )
    parser.add_argument("receiver", nargs="?", metavar="RECEIVER", help="of test: its name")
    add_filters(parser, *Which._fields)
    page_arguments(parser)


def run(args: Namespace, client: Client) -> int:
    _check(args)
    if args.what == "test":
        tested = answer(args, client, calls.test_receiver(args.receiver), views.tested)
        return ANSWERED if tested.delivered else FAILED
    question = _question(args)
    answer(args, client, question.call, question.view)
    return ANSWERED


def run_everywhere(args: Namespace, sites: Sites) -> int:
    _check(args)
    if args.what == "test":
        raise Misused("fallow alerts test asks one collector, and several are named; expected one --url")
    one_cursor_is_of_one(args)
    question = _question(args)
    found = sites.ask(lambda client: client.ask(question.call))
    show_across(args, found, question.view, "")
    return answered(found)


def _question(args: Namespace) -> _Question:
    match args.what:
        case "rules":
            return _Question(calls.alert_rules(), views.rules)
        case "receivers":
            return _Question(calls.alert_receivers(), views.receivers)
        case _:
            which = Which(**{name: tuple(getattr(args, name)) for name in Which._fields})
            return _Question(calls.alerts(which, args.limit, args.cursor), views.page)


def _check(args: Namespace) -> None:
    if args.what == "test" and args.receiver is None:
        raise Misused("fallow alerts test needs a RECEIVER; fallow alerts receivers lists them")
    if args.what != "test" and args.receiver is not None:
        raise Misused(f"{args.receiver!r} is one word too many; expected a receiver after test only")
