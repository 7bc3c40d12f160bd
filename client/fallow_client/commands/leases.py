"""`fallow reserve`, `commit`, `renew`, `release` and `leases`: claims on devices."""

from argparse import ArgumentParser, Namespace

import msgspec

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.devices import page_arguments
from fallow_client.commands.identity import add_holder
from fallow_client.commands.quantities import seconds
from fallow_client.commands.terminal import ANSWERED, Misused, answer, complete, show, show_json
from fallow_client.commands.wanted import add_request, request_of
from fallow_client.errors import Refused
from fallow_client.sites import Sites
from fallow_client.views.leases import lease, page
from fallow_client.views.sites import heading
from fallow_proto.dispatch import Claim, Request, Reserve


def reserve_arguments(parser: ArgumentParser) -> None:
    add_request(parser)
    parser.add_argument("--device", action="append", default=[], metavar="UUID",
                        help="just this device, or the one whose uuid begins so; repeated for several")
    parser.add_argument("--hold", action="store_true", help="only reserve; fallow commit must follow within the TTL")
    _add_ttl(parser, "it ends after so long unless it is renewed, such as 5m; with --hold at most 5m, else at most 1d "
                     "(default: 5m, with --hold [idle] reserve_ttl_s of the collector)")
    add_holder(parser)
    parser.add_argument("--key", default="", help="to try again with: the same key and request get the same lease")


def run_reserve(args: Namespace, client: Client) -> int:
    request = request_of(args)
    wanted = Reserve(
        holder=args.holder, hold=args.hold, ttl_s=args.ttl, key=args.key,
        request=None if args.device else request, devices=[_whole(client, uuid) for uuid in args.device],
    )
    if args.device and request != Request():
        raise Misused("both devices and a request for some; expected --device or what is wanted of any, not both")
    answer(args, client, calls.reserve(wanted), lease)
    return ANSWERED


def run_reserve_anywhere(args: Namespace, sites: Sites) -> int:
    if args.device or args.key:
        raise Misused("--device and --key are about one collector; expected one --url with them")
    placed = sites.reserve(request_of(args), holder=args.holder, hold=args.hold, ttl_s=args.ttl)
    if args.json:
        show_json(msgspec.json.encode({"site": placed.site, "lease": placed.lease}))
    else:
        show([heading(placed.site), *lease(placed.lease)])
    return ANSWERED


def claim_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the lease's id, as reserve and leases show it")
    parser.add_argument("--token", type=int, required=True, metavar="N",
                        help="its fencing token, as reserve and leases show it")
    add_holder(parser)


def prolong_arguments(parser: ArgumentParser) -> None:
    claim_arguments(parser)
    _add_ttl(parser, "it ends after so long, from now, unless it is renewed (default: commit 5m, renew as before)")


def release_arguments(parser: ArgumentParser) -> None:
    claim_arguments(parser)
    parser.add_argument("--outcome", choices=("ok", "failed"), default="",
                        help="how the work ended; work that failed within 2m of the commit speaks against the node")


def run_commit(args: Namespace, client: Client) -> int:
    claim = Claim(fencing_token=args.token, holder=args.holder, ttl_s=args.ttl)
    answer(args, client, calls.commit(args.id, claim), lease)
    return ANSWERED


def run_renew(args: Namespace, client: Client) -> int:
    claim = Claim(fencing_token=args.token, holder=args.holder, ttl_s=args.ttl)
    answer(args, client, calls.renew(args.id, claim), lease)
    return ANSWERED


def run_release(args: Namespace, client: Client) -> int:
    claim = Claim(fencing_token=args.token, holder=args.holder, outcome=args.outcome)
    answer(args, client, calls.release(args.id, claim), lease)
    return ANSWERED


def list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--holder", default="", metavar="NAME", help="only this holder's")
    page_arguments(parser)


def run_list(args: Namespace, client: Client) -> int:
    answer(args, client, calls.leases(args.holder, args.limit, args.cursor), page)
    return ANSWERED


def _add_ttl(parser: ArgumentParser, meaning: str) -> None:
    parser.add_argument("--ttl", type=seconds, default=0.0, metavar="TIME", help=meaning)


def _whole(client: Client, uuid: str) -> str:
    try:
        return client.device(uuid).device.uuid
    except Refused as refused:
        if refused.status != 404:
            raise
        return complete(client, uuid)
