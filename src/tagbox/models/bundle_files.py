"""The two files of a saved model, read and validated by type and range, with every fault as an error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.files import read_file
from tagbox.text_files import decode_json, refuse_repeated_keys

Arrays = dict[str, NDArray[Any]]
D = TypeVar("D")
_MOST_BYTES = 1 << 34
_MOST_DESCRIPTION = 1 << 26


class Header(msgspec.Struct):
    """What every description begins with."""

    format: str
    format_version: int


def read_description(path: Path, kind: type[D], format_name: str, version: int) -> D:
    """The JSON file `path` as the msgspec struct `kind`, which must be of that format and version.

    Raises
    ------
    TagboxError
        ``bundle-missing``; ``bundle-json``, with the field; ``bundle-version``.
    """
    header = decode_description(path, Header)
    if (header.format, header.format_version) != (format_name, version):
        raise TagboxError(
            "bundle-version",
            f"{header.format[:40]} version {header.format_version}; this tagbox reads {format_name} version {version}",
            file=path,
            where="format" if header.format != format_name else "format_version",
            hint="use the tagbox that wrote it, or make it again",
        )
    return decode_description(path, kind)


def decode_description(path: Path, kind: type[D]) -> D:
    """The JSON file `path` as the msgspec struct `kind`; raises ``bundle-missing`` or ``bundle-json``."""
    content = _bytes(path, _MOST_DESCRIPTION)
    hint = "restore the file, or train again"
    try:
        found: D = decode_json(content, path, kind)
        refuse_repeated_keys(content, path)
        return found
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        raise TagboxError(
            "bundle-json",
            what[0].lower() + what[1:],
            file=path,
            where=where.rstrip("`").removeprefix("$.") or None,
            hint=hint,
        ) from error
    except TagboxError as error:
        raise error.replace(code="bundle-json", hint=hint) from error


def read_weights(path: Path, expected: str) -> Arrays:
    """The arrays of a safetensors file whose SHA-256 is `expected`.

    Raises
    ------
    TagboxError
        ``bundle-missing``, ``bundle-weights``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = _bytes(path, _MOST_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise TagboxError(
            "bundle-weights",
            f"its SHA-256 begins {found[:12]}, the description names {expected[:12]}",
            file=path,
            where="weights_sha256 of model.json",
            hint="restore both files from the same run",
        )
    try:
        return dict(load(content))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TagboxError(
            "bundle-weights", f"not a safetensors file ({error})", file=path, hint="train again"
        ) from error


def _bytes(path: Path, most: int) -> bytes:
    try:
        return read_file(path, most)
    except OSError as error:
        raise TagboxError(
            "bundle-missing",
            error.strerror or str(error),
            file=path,
            hint="give the folder of a finished run, such as runs/NAME",
        ) from error


def mismatch(path: Path, where: str | None, found: str) -> TagboxError:
    """The error for parts of a saved model that do not fit each other."""
    hint = "restore both files from the same run"
    return TagboxError("bundle-mismatch", found, file=path, where=where, hint=hint)


@contextmanager
def building(path: Path) -> Iterator[None]:
    """While a network is built from the description `path`: what libraries raise is ``bundle-mismatch``."""
    try:
        yield
    except TagboxError as error:
        raise (error if error.file is not None else error.replace(file=path)) from error
    except (
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
    ) as error:
        if isinstance(error, NotImplementedError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        raise mismatch(path, None, f"the model it describes cannot be built ({reason})") from error
    except AssertionError as error:
        raise mismatch(path, None, "the model it describes cannot be built") from error
