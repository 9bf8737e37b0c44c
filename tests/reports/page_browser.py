"""A report's page as a parser and as a real browser see it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest


class PageReader(HTMLParser):
    """Collects what a page refers to and which elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.row_headers: list[str] = []
        self._in_header = False

    def handle_endtag(self, tag: str) -> None:
        self._in_header = False

    def handle_data(self, data: str) -> None:
        if self._in_header:
            self.row_headers[-1] += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_header = tag == "th" and ("scope", "row") in attrs
        if self._in_header:
            self.row_headers.append("")
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
addEventListener("load", () => {
  const table = document.querySelector(".sortable");
  let sorted = [];
  if (table) {
    table.querySelectorAll("button")[1].click();
    sorted = [...table.tBodies[0].rows].map((row) => Number(row.cells[1].dataset.value));
  }
  const page = document.documentElement;
  const scrolled = ".scroll, .wide, .pair > figure, pre, svg, .track, dialog, [hidden], details:not([open])";
  const cut = [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    const hides = getComputedStyle(element).overflowX === "hidden";
    return !element.closest(scrolled) && box.width
      && (box.right > innerWidth + 1 || (hides && element.scrollWidth > element.clientWidth + 1));
  }).map((element) => element.className || element.tagName);
  const select = document.querySelector(".picker select");
  const picked = [];
  for (let i = 0; select && i < select.options.length; i += 1) {
    select.selectedIndex = i;
    select.dispatchEvent(new Event("change"));
    picked.push([...document.querySelectorAll(".picked figure")].filter((figure) => figure.offsetHeight)
      .map((figure) => figure.querySelector("b").textContent));
  }
  const zoom = document.querySelector(".zoom"), viewer = document.querySelector("dialog");
  const enlarged = [];
  const note = () => enlarged.push([viewer.open, viewer.querySelectorAll("svg").length,
    viewer.querySelector(".caption").textContent]);
  if (zoom) {
    zoom.click();
    note();
    viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    note();
    viewer.querySelector("[data-step='0']").click();
    note();
  }
  parent.postMessage({ name: location.hash.slice(1), errors, sorted, cut, picked, enlarged,
    options: select ? [...select.options].map((option) => option.text) : [],
    captions: [...document.querySelectorAll(".zoom")].map((one) => one.dataset.caption),
    wide: page.scrollWidth, screen: innerWidth }, "*");
});
</script>"""
FRAMES = """<!doctype html><pre id=out></pre><script>
const seen = {};
onmessage = (event) => {
  seen[event.data.name] = event.data;
  document.getElementById("out").textContent = JSON.stringify(seen);
};
</script>"""


def open_browser(folder: Path) -> Callable[[dict[str, tuple[str, int]]], Any]:
    """What loads pages in a headless Chromium whose files are in `folder`; skips the test without one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed")

    def look(pages: dict[str, tuple[str, int]]) -> dict[str, Any]:
        """Load every page in a frame of its width and return what each measured of itself."""
        frames = FRAMES
        for name, (page, width) in pages.items():
            probed = page.replace("<style>", PROBE + "<style>", 1)
            (folder / f"{name}.html").write_text(probed, "utf-8")
            style = f"border:0;width:{width}px;height:900px"
            frames += f"<iframe src='{name}.html#{name}' style='{style}'></iframe>"
        (folder / "frames.html").write_text(frames, "utf-8")
        done = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--enable-logging=stderr",
                "--virtual-time-budget=60000",
                f"--user-data-dir={folder / 'profile'}",
                "--window-size=1400,1000",
                "--dump-dom",
                (folder / "frames.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            # It keeps a few things at home beside its profile.
            env={**os.environ, "HOME": str(folder)},
            timeout=240,
            check=False,
        )
        found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
        assert found and found[1], f"no page loaded: {done.stdout[:300]} {done.stderr[-800:]}"
        seen: dict[str, Any] = json.loads(html.unescape(found[1]))
        for name in pages:
            lines = re.findall(r"CONSOLE.*", done.stderr)
            seen[name]["console"] = [line for line in lines if f"/{name}.html" in line]
        return seen

    return look


def assert_enlarges(seen: dict[str, Any]) -> None:
    """A click enlarges the first image, an arrow key shows the next one, and the button closes it."""
    captions = seen["captions"]
    if captions:
        following = captions[1 % len(captions)]
        assert seen["enlarged"] == [
            [True, 1, captions[0]],
            [True, 1, following],
            [False, 1, following],
        ]
