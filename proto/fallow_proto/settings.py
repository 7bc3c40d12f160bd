"""Loading a TOML configuration into msgspec structs, with environment variables on top.

Every key has a default; an unknown key or a bad value is an error that names the file, the key and what would be
right. With the prefix FALLOW_AGENT, the variable `FALLOW_AGENT_SPOOL__MAX_MIB=5` sets `[spool] max_mib`.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

Settings = TypeVar("Settings", bound=msgspec.Struct)


class SettingsError(Exception):
    """The configuration cannot be used; the message says where, why and what would be right."""


def load(
    kind: type[Settings],
    path: Path | None,
    prefix: str,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings of `kind` from a TOML file (None: defaults only) and from variables that start with `prefix`.

    Raises SettingsError.
    """
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path}: is not UTF-8 text: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path}: is not TOML: {error}") from error
    where = str(path) if path is not None else "configuration"
    _refuse_unknown(kind, document, where, ())
    _apply_environment(kind, document, prefix, environment)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {_explain(str(error))}") from error


def secret(path: str, what: str) -> str:
    """The text of a secret file, without surrounding white space. Raises SettingsError.

    A file that others may read is refused: a secret that leaked quietly is worse than a service that does not start.
    """
    try:
        mode = Path(path).stat().st_mode & 0o777
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{what}: {path} cannot be read: {error}") from error
    if mode & 0o007:
        raise SettingsError(
            f"{what}: {path} has mode {mode:04o}, so that everybody may read it; expected 0600 or 0640"
        )
    if not text:
        raise SettingsError(f"{what}: {path} is empty")
    return text


def _refuse_unknown(
    kind: type[msgspec.Struct], table: Mapping[str, Any], where: str, above: tuple[str, ...]
) -> None:
    hints = get_type_hints(kind)
    for key, value in table.items():
        dotted = ".".join((*above, key))
        if key not in hints:
            near = get_close_matches(key, hints, n=1)
            meant = f"; did you mean {'.'.join((*above, near[0]))}?" if near else ""
            raise SettingsError(
                f"{where}: unknown key {dotted}; expected one of {', '.join(sorted(hints))}{meant}"
            )
        inner = hints[key]
        if _is_struct(inner):
            if not isinstance(value, dict):
                raise SettingsError(f"{where}: {dotted} = {value!r}, expected a table [{dotted}]")
            _refuse_unknown(inner, value, where, (*above, key))
        elif isinstance(value, list) and (items := [a for a in get_args(inner) if _is_struct(a)]):
            for position, item in enumerate(value):
                if isinstance(item, dict):
                    _refuse_unknown(items[0], item, where, (*above, f"{key}[{position}]"))


def _apply_environment(
    kind: type[msgspec.Struct], document: dict[str, Any], prefix: str, environment: Mapping[str, str]
) -> None:
    for name, text in sorted(environment.items()):
        if not name.startswith(prefix + "_"):
            continue
        path = name.removeprefix(prefix + "_").lower().split("__")
        table, inner = document, kind
        for key in path[:-1]:
            inner = get_type_hints(inner).get(key)  # type: ignore[assignment]
            if not _is_struct(inner):
                raise SettingsError(f"environment variable {name}: there is no table [{key}]")
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise SettingsError(f"environment variable {name}: another sets {key} = {table!r}, expected a table")
        if path[-1] not in get_type_hints(inner):
            raise SettingsError(
                f"environment variable {name}: unknown key {'.'.join(path)}; "
                f"expected one of {', '.join(sorted(get_type_hints(inner)))}"
            )
        table[path[-1]] = _literal(text)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _explain(message: str) -> str:
    """Msgspec's "Expected `int`, got `str` - at `$.spool.max_mib`" with the key in front."""
    problem, _, place = message.partition(" - at `$.")
    return f"{place.rstrip('`')}: {problem}" if place else problem
