"""`TagboxError`: the error that users see, with a file, a place in it, what was found and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from os import PathLike
from typing import Any

LONGEST_VALUE = 80
"""Characters of a value that an error repeats."""
LONGEST_SENTENCE = 2000
# Control characters, line and paragraph separators, marks of writing direction, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_QUOTED = re.compile(
    r"""(?<!\w)(?:'((?:[^'\\]|\\.){81,})'|"((?:[^"\\]|\\.){81,})")(?!\w)""", re.DOTALL
)
_UNBROKEN = re.compile(r"[^\s'\"/]{81,}")


def visible(text: str) -> str:
    """`text` on one line, without anything that a terminal obeys: such characters become ``\\n``, ``\\x1b``, ``\\u202e``."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Python holds a byte of a file name that is no UTF-8 as a lone surrogate.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]


def _brief(text: str) -> str:
    """`text` with the values in it cut at 80 characters."""

    def cut(match: re.Match[str]) -> str:
        quote = match[0][0] if match[0][0] in "'\"" else ""
        return f"{quote}{match[0].strip(quote)[: LONGEST_VALUE - 1]}…{quote}"

    text = visible(text)
    if len(text) > LONGEST_VALUE:
        text = _UNBROKEN.sub(cut, _QUOTED.sub(cut, text))
    return text if len(text) <= LONGEST_SENTENCE else f"{text[:LONGEST_SENTENCE]}…"


class TagboxError(Exception):
    """Bad input, described in one sentence, in which control characters are escaped and values cut at 80 characters.

    Parameters
    ----------
    code
        Stable kebab-case name of the kind of error (``"json-syntax"``), for programs and tests.
    found
        What was found, without a full stop.
    file
        The file or folder at fault.
    where
        The field, line or record in it: ``"annotations[3].bbox"``, ``"line 7"``.
    hint
        What to do about it, without a full stop.
    """

    def __init__(
        self,
        code: str,
        found: str,
        *,
        file: str | PathLike[str] | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.code = code
        self.found = found
        self.file = None if file is None else str(file)
        self.where = where
        self.hint = hint
        shown = (visible(self.file or ""), _brief(where or ""), _brief(found))
        sentence = ": ".join(part for part in shown if part)
        super().__init__(f"{sentence}; {hint}." if hint else f"{sentence}.")

    def replace(self, **fields: Any) -> TagboxError:
        """The same error with other values for some fields."""
        return TagboxError(**{name: getattr(self, name) for name in _FIELDS} | fields)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries (decode workers), and their fields are keyword-only.
        return partial(TagboxError, **{name: getattr(self, name) for name in _FIELDS}), ()


_FIELDS = ("code", "found", "file", "where", "hint")


def bad_value(
    value: object,
    wanted: str,
    where: str,
    *,
    code: str = "config-value",
    file: str | PathLike[str] | None = None,
) -> TagboxError:
    """The error for the value of a setting or option that is not what is `wanted`."""
    return TagboxError(
        code, f"{value!r} is not {wanted}", file=file, where=where, hint="change the value"
    )


def extra_missing(what: str, package: str | None, extra: str = "train") -> TagboxError:
    """The error for a `package` that `what` needs and that is not installed."""
    return TagboxError(
        "extra-missing",
        f"{what} needs {package}, which is not installed",
        hint=f'run: pip install "tagbox[{extra}]"',
    )


EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(("torch", "torchvision", "timm", "accelerate", "psutil"), "train"),
    **dict.fromkeys(("openvino", "safetensors", "tensorboard"), "train"),
    "optuna": "tune",
    "transformers": "transformers",
    "av": "video",
    "pandas": "pandas",
}
"""Packages that a plain installation does not bring -> the extra that does."""


def require_extra(what: str, *packages: str) -> None:
    """Refuse `what` unless all of its `packages` are installed; none is imported.

    Raises
    ------
    TagboxError
        ``extra-missing``, for the first package that is not there.
    """
    for package in packages:
        try:
            found = find_spec(package)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise extra_missing(what, package, EXTRAS[package])


def no_labels(images: int, file: str | PathLike[str], hint: str) -> TagboxError:
    """The error for a dataset of which no image is labelled."""
    return TagboxError("no-labels", f"none of its {images} images has labels", file=file, hint=hint)


def no_readable_images(which: str, file: str | PathLike[str]) -> TagboxError:
    """The error for a dataset without a readable image; `which` continues "none of the"."""
    return TagboxError(
        "no-readable-images",
        f"none of the {which}",
        file=file,
        hint="run tagbox check on the dataset",
    )
