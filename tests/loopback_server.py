"""A web server on loopback that serves files, and lies, breaks off and refuses on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What a server serves and how it behaves; `requests` gathers what it was asked."""

    files: dict[str, bytes]
    url: str = ""
    etag: str | None = '"one"'
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    """For each request in turn, how many bytes are sent before the connection is cut."""
    statuses: list[int] = field(default_factory=list)
    """For each request in turn, an error to answer with."""
    length: bool = True
    wrong_range: bool = False
    drip: float = 0.0
    """Seconds between single bytes of the content, which then never ends."""
    slow_head: bool = False
    """Whether the head of an answer comes byte by byte and never ends."""
    headers: list[tuple[str, str | None]] = field(default_factory=list)
    """Host and credentials of each request."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        asked = self.headers.get("Range")
        site.requests.append((self.path, asked))
        site.headers.append((self.headers["Host"], self.headers.get("Authorization")))
        self.close_connection = True
        if site.slow_head:
            self._drip(b"HTTP/1.1 200 OK\r\nX-Long: " + bytes(10_000).replace(b"\0", b"a"), 0.02)
            return
        if site.statuses:
            self.send_error(site.statuses.pop(0))
            return
        content = site.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        unchanged = self.headers.get("If-Range") in (None, site.etag)
        if asked and site.ranges and unchanged:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            told = start + 1 if site.wrong_range else start
            self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        end = site.break_after.pop(0) if site.break_after else len(content)
        if site.drip:
            self._drip(b"a" * 100_000, site.drip)
            return
        self.wfile.write(content[start : start + end])

    def _drip(self, content: bytes, seconds: float) -> None:
        with suppress(OSError):
            for offset in range(len(content)):
                if self.site.stop.wait(seconds):
                    return
                self.wfile.write(content[offset : offset + 1])
                self.wfile.flush()


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve `site` until the block ends; `site.url` has its address."""
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        site.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port_url() -> str:
    """An address where nobody listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    port = server.server_address[1]
    server.server_close()
    return f"http://127.0.0.1:{port}"
