"""`fallow cordon`, `drain`, `maintenance`, `uncordon` and `cordons`: what is to get no new work."""

from argparse import ArgumentParser, Namespace

import msgspec

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.identity import add_holder
from fallow_client.commands.quantities import moment, seconds
from fallow_client.commands.targets import add_targets, resolve
from fallow_client.commands.terminal import ANSWERED, answer, show, show_json
from fallow_client.errors import FallowError
from fallow_client.views.cordons import lifted, page, result
from fallow_proto.dispatch import Cordon, CordonRequest


class NotYours(FallowError):
    """The target has no cordon of this owner."""


def arguments(parser: ArgumentParser) -> None:
    """Of cordon and drain."""
    _common(parser)
    parser.add_argument("--for", dest="for_s", type=seconds, default=0.0, metavar="TIME",
                        help="it ends by itself, such as 2h (default: when it is lifted)")


def maintenance_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    example = "such as 2026-03-01T20:00:00+08:00"
    parser.add_argument("--start", type=moment, metavar="TIME", help=f"{example} (default: now)")
    parser.add_argument("--end", type=moment, metavar="TIME",
                        help=f"{example} (default: when it is lifted)")


def uncordon_arguments(parser: ArgumentParser) -> None:
    add_targets(parser, "a cordon's id, ")
    add_holder(parser, "owner")


def list_arguments(parser: ArgumentParser) -> None:
    for name in ("node", "device", "owner"):
        parser.add_argument(f"--{name}", default="", metavar=name.upper(), help=f"only of this {name}")
    parser.add_argument("--cursor", metavar="KEY", help="go on after the page that ended with this")


def run_cordon(args: Namespace, client: Client) -> int:
    return _put(args, client, CordonRequest(kind="cordoned", for_s=args.for_s))


def run_drain(args: Namespace, client: Client) -> int:
    return _put(args, client, CordonRequest(kind="draining", for_s=args.for_s))


def run_maintenance(args: Namespace, client: Client) -> int:
    return _put(args, client, CordonRequest(kind="maintenance", start=args.start or "", end=args.end or ""))


def run_uncordon(args: Namespace, client: Client) -> int:
    lifted_ids: list[str] = []
    for word in args.target:
        for cordon_id, owner in _to_lift(client, word, args.owner):
            client.uncordon(cordon_id, owner)
            lifted_ids.append(cordon_id)
    if args.json:
        show_json(msgspec.json.encode(lifted_ids))
    else:
        show(lifted(lifted_ids))
    return ANSWERED


def run_list(args: Namespace, client: Client) -> int:
    answer(args, client, calls.cordons(args.node, args.device, args.owner, args.cursor), page)
    return ANSWERED


def _common(parser: ArgumentParser) -> None:
    add_targets(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for whoever asks")
    add_holder(parser, "owner")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would take out")


def _to_lift(client: Client, word: str, owner: str) -> list[tuple[str, str]]:
    """Cordons that the word means, each with its owner: that of this id, else all of this owner on a target."""
    standing = _all_cordons(client)
    if any(one.cordon_id == word for one in standing):
        return [(word, owner)]
    target = resolve(client, [word], "and no cordon has this id")
    there = [one for one in standing if one.device in target.devices or (not one.device and one.node in target.nodes)]
    own = [(one.cordon_id, owner) for one in there if one.owner == owner or one.owner.endswith(f"/{owner}")]
    if not own:
        others = ", ".join(f"{one.cordon_id} of {one.owner}" for one in there) or "none at all"
        raise NotYours(f"{word} has no cordon of {owner}; it has {others}")
    return own


def _all_cordons(client: Client) -> list[Cordon]:
    found: list[Cordon] = []
    cursor: str | None = None
    while True:
        page = client.cordons(cursor=cursor)
        found += page.items
        if (cursor := page.next) is None:
            return found


def _put(args: Namespace, client: Client, asked: CordonRequest) -> int:
    found = resolve(client, args.target)
    request = msgspec.structs.replace(
        asked, devices=found.devices, nodes=found.nodes, owner=args.owner, reason=args.reason, dry_run=args.dry_run
    )
    answer(args, client, calls.cordon(request), lambda done: result(done, request.kind, request.dry_run))
    return ANSWERED
