"""The TOML file, read and checked: every wrong key is named, with what was expected, in one line."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.settings import GatewayConfig

_ADAPTER: TypeAdapter[GatewayConfig] = TypeAdapter(GatewayConfig)
_MESSAGES = {"missing": "is missing", "unexpected_keyword_argument": "there is no such key"}
_SHOWN = 40  # characters of a wrong value


def read_config(path: Path) -> GatewayConfig:
    """The configuration in a TOML file; relative paths in it are from the file's folder.

    Raises InputError, which names every wrong key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a TOML file; expected UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: no TOML ({error}); `swinunet gateway --example` prints a configuration") from None
    return with_absolute_paths(parse_config(content, str(path)), path.absolute().parent)


def parse_config(content: Mapping[str, Any], origin: str) -> GatewayConfig:
    """The configuration in a parsed TOML document. origin: names it in errors. Raises InputError."""
    try:
        return _ADAPTER.validate_python(content, strict=False)
    except ValidationError as error:
        faults = dict.fromkeys(_fault(detail) for detail in error.errors())
        raise InputError(f"{origin}: {'; '.join(faults)}") from None


def with_absolute_paths(config: Any, folder: Path) -> Any:
    """A configuration whose relative paths are made absolute from `folder`, throughout."""
    if isinstance(config, Path):
        return folder / config.expanduser()
    if isinstance(config, tuple):
        return tuple(with_absolute_paths(each, folder) for each in config)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        changed = {}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if (absolute := with_absolute_paths(value, folder)) is not value:
                changed[field.name] = absolute
        return dataclasses.replace(config, **changed) if changed else config
    return config


def _fault(detail: Any) -> str:
    """One fault: where, what was found, what was expected. Values under a key that may be secret are not shown."""
    where, kind = _where(detail["loc"]), detail["type"]
    message = detail["msg"].removeprefix("Value error, ")
    if kind in _MESSAGES:
        return f"{where}: {_MESSAGES[kind]}"
    message = message[:1].lower() + message[1:]
    if kind == "value_error" or not isinstance(detail["input"], str | int | float | bool):
        return f"{where}: {message}" if where else message
    return f"{where} = {str(detail['input'])[:_SHOWN]!r}: {message}"


def _where(location: Sequence[str | int]) -> str:
    """`routes[0].destinations`; without the tags of unions, which stand after the index of a peer."""
    text = ""
    previous: str | int = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (isinstance(previous, int) and part in ("dimse", "dicomweb", "folder")):
            text += f".{part}" if text else part
        previous = part
    return text
