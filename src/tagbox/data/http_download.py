"""Download of one file over HTTP: resumed after breaks, checked, and moved to its path only when complete."""

from __future__ import annotations

import base64
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tagbox.atomic_io import atomic_write, cannot_write, sha256_of, sole_use
from tagbox.errors import TagboxError, bad_value
from tagbox.files import open_file

BLOCK = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 3
LEAST_RATE = 100
"""Bytes a second, over `RATE_SECONDS`, below which a server is given up."""
RATE_SECONDS = 30.0
ANSWER_SECONDS = 120.0
"""Seconds within which the head of an answer must have come."""
MOST_BYTES = 1 << 37
"""Bytes after which a download ends that has no size of its own to end at."""
TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which the request is tried again."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total (None when the server does not state it)."""


def download_file(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    expected_size: int | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    before_move: Callable[[Path], object] = lambda _: None,
    hint: str = "download it in another way and put it there",
) -> Path:
    """Download `url` to `path` and check it; `path` appears only when it is complete and verified.

    The bytes are collected in ``.NAME.part`` beside `path`. After a broken connection the download
    continues from there, in this call or the next one, if the server confirms that the file has not
    changed (``If-Range``); otherwise it starts again.

    Parameters
    ----------
    sha256, sha256_prefix
        Hex digest of the file, or its first digits.
    expected_size
        Size in bytes.
    resume
        Whether to continue the part of an earlier call.
    progress
        See `Progress`.
    before_move
        Called with the complete and checked file before it is moved to `path`.
    hint
        Hint of every error of this function.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    TagboxError
        ``download-url`` not an http or https address; ``config-value`` `sha256` is not one; ``download-network`` no connection;
        ``download-status`` an HTTP error; ``download-truncated`` fewer bytes than announced, or too slowly;
        ``download-size`` more, or another number than expected; ``download-hash`` another digest;
        ``cannot-write`` the disk refuses.
    """
    if sha256 is not None:
        require_sha256(sha256)
    part = path.with_name(f".{path.name}.part")
    request = _Request(parse_url(url, path), path, part, expected_size, progress, hint)
    prefix = (sha256 or sha256_prefix or "").lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _identity(path)
        with sole_use(path.parent):
            if _identity(path) != before:
                return path  # Another process fetched it while this one waited.
            if not resume or part.is_symlink():
                request.discard()
            elif os.path.lexists(part):
                open_file(part).close()  # It is written to.
            _complete_and_check(request, prefix)
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            before_move(part)
            os.replace(part, path)
            request.discard()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def require_sha256(digest: str) -> None:
    """Raise ``config-value`` unless `digest` is a whole SHA-256 in hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise bad_value(digest, "a SHA-256, which has 64 hexadecimal digits", "sha256")


def shown_url(url: str) -> str:
    """An address for messages and records: without its user name and password, and the values of its query."""
    url = without_user(url)
    start = re.split(r"[?#]", url, maxsplit=1)[0]
    return start + re.sub(r"([?&;#](?:[^=&;#]*=)?)[^&;#]+", r"\1***", url[len(start) :])


def without_user(url: str) -> str:
    """An address without its user name and password."""
    return re.sub(r"^([A-Za-z][\w+.-]*://)[^/?#]*@", r"\1***@", url)


@dataclass(frozen=True)
class _Address:
    """An address as it is asked for, in ASCII, its credentials as a header, and as it is shown."""

    url: str
    shown: str
    authorization: str | None


def parse_url(url: str, path: Path | None = None) -> _Address:
    """The parts of an http or https address; international host names and paths are encoded.

    Raises
    ------
    TagboxError
        ``download-url``.
    """
    shown = shown_url(url)
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("not an http or https address")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        if re.search(r"[\s\0-\x1f\x7f%<>\"{}|\\^`]", host):
            raise ValueError("its host name is none")
    except ValueError as error:
        raise TagboxError(
            "download-url",
            f"{shown} is not an http or https address",
            file=path,
            hint="give an address such as https://example.org/file.zip",
        ) from error
    netloc = f"[{host}]" if ":" in host else host
    netloc += "" if port is None else f":{port}"
    # What is encoded already stays so.
    asked = f"{parts.scheme}://{netloc}{quote(parts.path or '/', safe=_SAFE)}"
    asked += f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
    authorization = None
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(secret).decode()}"
    return _Address(asked, shown, authorization)


_SAFE = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True)
class _Request:
    """One download: its address, paths, expected size and the hint of its errors."""

    address: _Address
    path: Path
    part: Path
    expected_size: int | None
    progress: Progress | None
    hint: str

    @property
    def validator_file(self) -> Path:
        """Holds the ETag or modification date of the file on the server."""
        return self.part.with_name(f"{self.part.name}.etag")

    def resumable(self) -> int:
        """Bytes of the part that a request can continue; 0 without a validator for ``If-Range``."""
        return self.part.stat().st_size if self.part.exists() and self.validator() else 0

    def validator(self) -> str:
        if not self.validator_file.exists():
            return ""
        text = self.validator_file.read_text(encoding="utf-8", errors="replace")
        return text if text.isascii() and text.isprintable() else ""

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.validator_file.unlink(missing_ok=True)

    def report(self, received: int, total: int | None) -> None:
        if self.progress:
            self.progress(received, total)

    def error(self, code: str, found: str) -> TagboxError:
        return TagboxError(code, f"{self.address.shown}: {found}", file=self.path, hint=self.hint)


def _complete_and_check(request: _Request, prefix: str) -> None:
    """Complete the part and check its digest; a resumed part with another digest is downloaded again."""
    resumed = request.resumable() > 0
    _complete(request)
    if resumed and not _hash_matches(request.part, prefix):
        request.discard()
        _complete(request)
    if not _hash_matches(request.part, prefix):
        digest = sha256_of(request.part)
        request.discard()
        raise request.error(
            "download-hash",
            f"SHA-256 begins {digest[: max(16, len(prefix))]} where {prefix} was expected",
        )


def _complete(request: _Request) -> None:
    """Complete the part, with further requests after broken connections and transient server errors."""
    for attempt in range(ATTEMPTS):
        try:
            _attempt(request)
            return
        except TagboxError as error:
            transient = error.code == "download-truncated" or isinstance(error, _TransientError)
            if not transient or attempt == ATTEMPTS - 1:
                raise
        time.sleep(0.2 * 2**attempt)


class _TransientError(TagboxError):
    """An error after which the request is tried again."""


def _attempt(request: _Request) -> None:
    """Send one request; append the answer to the part, or start the part again."""
    received = request.resumable()
    try:
        response = _open(request, received)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and received:
            # The part is as long as the file or longer: the file on the server changed.
            request.discard()
            return _attempt(request)
        kind = _TransientError if error.code in TRANSIENT_STATUS else TagboxError
        raise kind(
            "download-status",
            f"{request.address.shown}: the server answered {error.code} {error.reason}",
            file=request.path,
            hint=request.hint,
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise request.error("download-network", f"no connection ({reason})") from error
    with response:
        start = _offset_of(response, received, request)
        length = response.headers.get("Content-Length")
        known = length is not None and re.fullmatch(r"[0-9]{1,18}", length)
        total = start + int(length) if known else None
        expected = request.expected_size
        if expected is not None and total is not None and total != expected:
            raise request.error("download-size", f"{total} bytes where {expected} were expected")
        if total is not None and total > MOST_BYTES:
            raise request.error("download-size", f"{total} bytes, more than {MOST_BYTES}")
        if start == 0:
            atomic_write(request.validator_file, _validator(response.headers))
        with open(request.part, "ab" if start else "wb") as part:
            got = _copy(response, part, start, total, request)
    if expected is not None and got > expected:
        request.discard()
        raise request.error("download-size", f"more than the expected {expected} bytes")
    whole = total if total is not None else expected
    if whole is not None and got < whole:
        raise request.error("download-truncated", f"broke off after {got} of {whole} bytes")
    return None


def _open(request: _Request, received: int) -> Any:
    # Compressed transfer would make lengths and ranges mean something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "tagbox"}
    if received:
        headers |= {"Range": f"bytes={received}-", "If-Range": request.validator()}
    asked = urllib.request.Request(request.address.url, headers=headers)
    if request.address.authorization:
        # Not sent to where a redirection leads.
        asked.add_unredirected_header("Authorization", request.address.authorization)
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS))
        except Exception as error:
            answer.append(error)

    # The time limit of a socket is that of each byte: a head that drips would never meet it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if not answer:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} seconds")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def _offset_of(response: Any, received: int, request: _Request) -> int:
    """Offset of the answer's first byte: `received` when the server continues the part, else 0."""
    if response.status != 206:
        return 0
    given = str(response.headers.get("Content-Range", ""))
    if received and given.startswith(f"bytes {received}-"):
        return received
    request.discard()
    raise request.error("download-truncated", f"the server sent another part, {given!r}")


def _copy(
    response: Any, part: IO[bytes], received: int, total: int | None, request: _Request
) -> int:
    """Append the answer's bytes to `part` and return its length; raises when the connection breaks."""
    limit = MOST_BYTES if request.expected_size is None else request.expected_size
    request.report(received, total)
    since, before = time.monotonic(), received
    while received <= limit:
        try:
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            part.flush()
            raise request.error(
                "download-truncated", f"broke off after {received} bytes"
            ) from error
        if not block:
            break
        part.write(block)
        received += len(block)
        request.report(received, total)
        elapsed = time.monotonic() - since
        if elapsed >= RATE_SECONDS:
            if received - before < LEAST_RATE * elapsed:
                part.flush()
                found = f"only {received - before} bytes came in {elapsed:.0f} seconds"
                raise request.error("download-truncated", found)
            since, before = time.monotonic(), received
    if request.expected_size is None and received > limit:
        part.flush()
        request.discard()
        raise request.error("download-size", f"more than {limit} bytes, and no end")
    return received


def _validator(headers: Message) -> str:
    """A strong ETag, else the modification date: what ``If-Range`` allows (RFC 9110, 13.1.5)."""
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
