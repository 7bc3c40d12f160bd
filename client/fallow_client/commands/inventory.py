"""`fallow declare` and `retire`: which devices the operator says there are."""

import csv
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import msgspec
from rich.text import Text

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.terminal import ANSWERED, answer, answer_of_device
from fallow_client.errors import FallowError
from fallow_proto import api

CSV_COLUMNS = ("uuid", "site", "node", "vendor", "model", "class")


class BadInventory(FallowError):
    """The file does not say which devices there are."""


def declare_arguments(parser: ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("uuid", nargs="*", default=[], metavar="UUID", help="whole uuids of devices")
    source.add_argument(
        "--file", type=Path, metavar="FILE",
        help=f"TOML ([[devices]] tables) or CSV with {', '.join(CSV_COLUMNS)}, of which only uuid is needed",
    )
    source.add_argument("--seen", action="store_true", help="every device that is there now")


def run_declare(args: Namespace, client: Client) -> int:
    if args.file is not None:
        declared = read(args.file)
    elif args.seen:
        declared = list(seen(client))
    else:
        declared = [api.Declared(uuid=uuid) for uuid in args.uuid]
    answer(args, client, calls.declare(declared), lambda result: [
        Text(f"declared {result.declared}, and {result.already} that were declared already")
    ])
    return ANSWERED


def run_retire(args: Namespace, client: Client) -> int:
    answer_of_device(args, client, calls.retire, lambda nothing: [Text(f"retired {args.uuid}")])
    return ANSWERED


def seen(client: Client) -> Iterator[api.Declared]:
    """What is there now, as a declaration."""
    for device in client.all_devices():
        if device.freshness != "absent":
            yield api.Declared(
                uuid=device.uuid, site=device.site, node=device.node, vendor=device.vendor, model=device.model,
                device_class=device.device_class,
            )


def read(path: Path) -> list[api.Declared]:
    """Devices of a TOML or CSV file. Raises BadInventory."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a CSV with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise BadInventory(f"{path}: cannot be read: {error}") from error
    match path.suffix:
        case ".toml":
            return _toml(text, path)
        case ".csv":
            return _csv(text, path)
        case other:
            raise BadInventory(f"{path}: its name ends in {other!r}; expected .toml or .csv")


def _toml(text: str, path: Path) -> list[api.Declared]:
    try:
        return msgspec.convert(tomllib.loads(text), api.Declaration).devices
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInventory(f"{path}: {error}; expected [[devices]] tables with {', '.join(CSV_COLUMNS)}") from error


def _csv(text: str, path: Path) -> list[api.Declared]:
    lines = csv.DictReader(text.splitlines())
    header = lines.fieldnames or ()
    for name in header:
        if name not in CSV_COLUMNS:
            near = get_close_matches(name, CSV_COLUMNS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise BadInventory(f"{path}: unknown column {name!r}; expected {', '.join(CSV_COLUMNS)}{meant}")
    if "uuid" not in header:
        raise BadInventory(f"{path}: has no column uuid; expected a first line with {', '.join(CSV_COLUMNS)}")
    devices = []
    for line in lines:
        if None in line or None in line.values():
            raise BadInventory(f"{path}: line {lines.line_num}: expected {len(header)} fields as in the first line")
        devices.append(msgspec.convert(line, api.Declared))
    return devices
