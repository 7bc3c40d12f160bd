"""The file of declared devices ([inventory] file): what an operator says is there.

TOML with a table [[devices]] each, or CSV with a heading; the columns are uuid (which must be there), site, node,
vendor, model and class.
"""

import csv
import tomllib
from pathlib import Path

import msgspec

from fallow_proto.api import Declaration, Declared
from fallow_proto.settings import SettingsError


def load_inventory(path: Path) -> list[Declared]:
    """Raises SettingsError."""
    where = f"[inventory] file {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where}: cannot be read: {error}") from error
    try:
        if path.suffix == ".csv":
            rows = [{key: value.strip() for key, value in row.items()} for row in csv.DictReader(text.splitlines())]
            document: object = {"devices": rows}
        else:
            document = tomllib.loads(text)
        devices = msgspec.convert(document, Declaration).devices
    except (tomllib.TOMLDecodeError, csv.Error, AttributeError) as error:
        raise SettingsError(
            f"{where}: is neither TOML nor, by its name, CSV with as many cells a row as its heading: {error}"
        ) from error
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{where}: {error}; expected devices with uuid, and site, node, vendor, model, class if known"
        ) from error
    for number, device in enumerate(devices, 1):
        if not device.uuid or not device.uuid.isprintable() or " " in device.uuid:
            raise SettingsError(f"{where}: device {number} has uuid {device.uuid!r}, expected one without spaces")
    return devices
