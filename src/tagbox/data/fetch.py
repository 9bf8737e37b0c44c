"""Fetching one file over HTTP: resumed, checked, and either whole at its place or not there."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tagbox.atomic_io import atomic_write, cannot_write, sha256_of, sole_use
from tagbox.errors import TagboxError

BLOCK = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 3
PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
"""Answers that another try may mend."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes held so far and the bytes in all (None when the server does not say)."""


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    expected_size: int | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    hint: str = "download it in another way and put it there",
) -> Path:
    """Download `url` to `path` and check it; `path` appears only once it is whole and right.

    The bytes gather in ``.NAME.part`` beside `path`. A connection that breaks off is continued from
    there, in this call or the next one, when the server proves that it still has the same file
    (``If-Range``); otherwise the download starts again.

    Parameters
    ----------
    sha256, sha256_prefix
        Hex digest of the file, or the first digits of it.
    expected_size
        Size in bytes.
    resume
        Whether to continue a part that an earlier call left.
    progress
        See `Progress`.
    hint
        The way out that every error of this function ends with.

    Returns
    -------
    `path`.

    Raises
    ------
    TagboxError
        ``download-url`` not an http or https address; ``download-network`` no connection;
        ``download-status`` an HTTP error; ``download-truncated`` fewer bytes than announced;
        ``download-size`` more, or another number than expected; ``download-hash`` another digest;
        ``cannot-write`` the disk refuses.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise TagboxError("download-url", f"{url} is not an http or https address", file=path)
    part = path.with_name(f".{path.name}.part")
    request = _Request(url, path, part, expected_size, progress, hint)
    prefix = (sha256 or sha256_prefix or "").lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _identity(path)
        with sole_use(path.parent):
            if _identity(path) != before:
                return path  # Another process fetched it while this one waited.
            if not resume:
                request.forget()
            _gather_checked(request, prefix)
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
            request.forget()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


@dataclass(frozen=True)
class _Request:
    """One download: where from, where to, and what to say when it fails."""

    url: str
    path: Path
    part: Path
    expected_size: int | None
    progress: Progress | None
    hint: str

    @property
    def validator_file(self) -> Path:
        """Holds the ETag or date of the file that the part is a part of."""
        return self.part.with_name(f"{self.part.name}.etag")

    def held(self) -> int:
        """Bytes of the part that may be continued; 0 without a validator to continue it by."""
        return self.part.stat().st_size if self.part.exists() and self.validator() else 0

    def validator(self) -> str:
        return self.validator_file.read_text() if self.validator_file.exists() else ""

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.validator_file.unlink(missing_ok=True)

    def say(self, held: int, total: int | None) -> None:
        if self.progress:
            self.progress(held, total)

    def error(self, code: str, found: str) -> TagboxError:
        return TagboxError(code, f"{self.url}: {found}", file=self.path, hint=self.hint)


def _gather_checked(request: _Request, prefix: str) -> None:
    """Bring the part to its full length and check its digest; a bad continuation is started over."""
    resumed = request.held() > 0
    _gather(request)
    if resumed and not _hash_matches(request.part, prefix):
        request.forget()
        _gather(request)
    if not _hash_matches(request.part, prefix):
        digest = sha256_of(request.part)
        request.forget()
        raise request.error(
            "download-hash",
            f"SHA-256 begins {digest[: max(16, len(prefix))]} where {prefix} was expected",
        )


def _gather(request: _Request) -> None:
    """Bring the part to its full length, continuing after breaks and passing server errors."""
    for attempt in range(ATTEMPTS):
        try:
            _attempt(request)
            return
        except TagboxError as error:
            passing = error.code == "download-truncated" or isinstance(error, _PassingError)
            if not passing or attempt == ATTEMPTS - 1:
                raise
        time.sleep(0.2 * 2**attempt)


class _PassingError(TagboxError):
    """A refusal that another try may mend."""


def _attempt(request: _Request) -> None:
    """One request: append what the server sends to the part, or start it anew."""
    held = request.held()
    try:
        response = _open(request, held)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and held:
            # The part is as long as the file or longer: the file changed, or only the checks are left.
            request.forget()
            return _attempt(request)
        kind = _PassingError if error.code in PASSING_STATUS else TagboxError
        raise kind(
            "download-status",
            f"{request.url}: the server answered {error.code} {error.reason}",
            file=request.path,
            hint=request.hint,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise request.error("download-network", f"no connection ({reason})") from error
    with response:
        start = _start_of(response, held, request)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        expected = request.expected_size
        if expected is not None and total is not None and total != expected:
            raise request.error("download-size", f"{total} bytes where {expected} were expected")
        if start == 0:
            atomic_write(request.validator_file, _validator(response.headers))
        with open(request.part, "ab" if start else "wb") as part:
            got = _copy(response, part, start, total, request)
    if expected is not None and got > expected:
        request.forget()
        raise request.error("download-size", f"more than the expected {expected} bytes")
    whole = total if total is not None else expected
    if whole is not None and got < whole:
        raise request.error("download-truncated", f"broke off after {got} of {whole} bytes")
    return None


def _open(request: _Request, held: int) -> Any:
    # Compressed transfer would make lengths and ranges mean something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "tagbox"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": request.validator()}
    return urllib.request.urlopen(
        urllib.request.Request(request.url, headers=headers), timeout=TIMEOUT_SECONDS
    )


def _start_of(response: Any, held: int, request: _Request) -> int:
    """Where the answer's bytes begin: `held` when the server continues the part, else 0."""
    if response.status != 206:
        return 0
    given = str(response.headers.get("Content-Range", ""))
    if held and given.startswith(f"bytes {held}-"):
        return held
    request.forget()
    raise request.error("download-truncated", f"the server sent another part, {given!r}")


def _copy(response: Any, part: IO[bytes], held: int, total: int | None, request: _Request) -> int:
    """Copy the answer's bytes; the length then held. A connection that breaks ends the copy."""
    limit = request.expected_size
    request.say(held, total)
    while limit is None or held <= limit:
        try:
            block = response.read(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            part.flush()
            raise request.error("download-truncated", f"broke off after {held} bytes") from error
        if not block:
            break
        part.write(block)
        held += len(block)
        request.say(held, total)
    return held


def _validator(headers: Message) -> str:
    """A strong ETag, else the date; only these may stand in ``If-Range`` (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _hash_matches(part: Path, prefix: str) -> bool:
    return not prefix or sha256_of(part).startswith(prefix)
