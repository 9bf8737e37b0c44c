"""What msgspec says of malformed JSON, as an error with line and column."""

from __future__ import annotations

from pathlib import Path

from tagbox.data.text import line_and_column, not_utf8
from tagbox.errors import TagboxError


def syntax_error(error: Exception, content: memoryview, path: Path) -> TagboxError:
    """``json-syntax``, ``json-number`` or ``not-utf8`` for an error of msgspec (or of UTF-8)."""
    if isinstance(error, UnicodeDecodeError) or "utf-8" in str(error):
        return not_utf8(path, "a text in it")
    message = str(error).removeprefix("JSON is malformed: ")
    reason, _, rest = message.partition(" (byte ")
    if not rest:
        return TagboxError(
            "json-syntax",
            "the JSON ends too early",
            file=path,
            where=line_and_column(content, len(content)),
            hint="the file is cut off; export or copy it again",
        )
    # Of what follows the value msgspec has already taken the first character.
    offset = int(rest.rstrip(")")) - (reason == "trailing characters")
    around = bytes(content[max(0, offset - 9) : offset + 9])
    for word in (b"-Infinity", b"Infinity", b"NaN"):
        place = around.find(word)
        if place >= 0 and place <= min(offset, 9) < place + len(word):
            return TagboxError(
                "json-number",
                f"{word.decode()} is not a number in JSON",
                file=path,
                where=line_and_column(content, offset - min(offset, 9) + place),
                hint="write a number or null",
            )
    return TagboxError(
        "json-syntax",
        f"this is not JSON: {reason}",
        file=path,
        where=line_and_column(content, offset),
        hint="mend the file there or export it again",
    )
