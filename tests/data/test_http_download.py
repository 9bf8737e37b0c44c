"""Downloads against a server on loopback that breaks off, lies and refuses."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from loopback_server import Site, closed_port_url, serve
from tagbox.data import http_download as module
from tagbox.data.http_download import download_file, parse_url, shown_url
from tagbox.errors import TagboxError

CONTENT = os.urandom(1 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


def test_a_file_arrives_whole_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serve(Site({"/a": CONTENT})) as site:
        path = download_file(
            f"{site.url}/a",
            tmp_path / "new" / "a",
            sha256=DIGEST,
            expected_size=len(CONTENT),
            progress=lambda held, total: told.append((held, total)),
        )
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["a"]


def test_a_break_is_continued_in_the_same_call(tmp_path: Path) -> None:
    with serve(Site({"/a": CONTENT}, break_after=[300_000, 400_000])) as site:
        path = download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in site.requests] == [None, "bytes=300000-", "bytes=700000-"]


def test_a_break_is_continued_in_the_next_call(tmp_path: Path) -> None:
    site = Site({"/a": CONTENT}, break_after=[100_000, 100_000, 100_000])
    with serve(site):
        with pytest.raises(TagboxError) as raised:
            download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
        assert raised.value.code == "download-truncated"
        assert not (tmp_path / "a").exists()
        download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert site.requests[-1][1] == "bytes=300000-"


@pytest.mark.parametrize(
    "misbehaviour",
    [
        {"ranges": False},  # A range is answered with the whole file.
        {"etag": None},  # Nothing proves that the file is the same: it starts again.
        {"wrong_range": True},  # Another range than the one asked for.
    ],
)
def test_a_server_that_does_not_continue_costs_a_restart_only(
    tmp_path: Path, misbehaviour: dict[str, object]
) -> None:
    site = Site({"/a": CONTENT}, break_after=[300_000], **misbehaviour)  # type: ignore[arg-type]
    with serve(site):
        path = download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_between_calls_is_not_mixed(tmp_path: Path) -> None:
    site = Site({"/a": CONTENT}, break_after=[100_000] * 3)
    other = os.urandom(len(CONTENT))
    with serve(site):
        with pytest.raises(TagboxError):
            download_file(f"{site.url}/a", tmp_path / "a")
        site.files["/a"], site.etag = other, '"two"'
        download_file(f"{site.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == other


def test_a_bad_part_is_started_over(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_bytes(b"x" * 5000)
    (tmp_path / ".a.part.etag").write_text('"one"')
    with serve(Site({"/a": CONTENT})) as site:
        download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_a_part_longer_than_the_file_is_started_over(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_bytes(CONTENT + b"more")
    (tmp_path / ".a.part.etag").write_text('"one"')
    with serve(Site({"/a": CONTENT})) as site:
        download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with serve(Site({"/a": CONTENT}, statuses=[503, 429])) as site:
        download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("code", "site", "settings"),
    [
        ("download-status", Site({}), {}),
        ("download-status", Site({"/a": CONTENT}, statuses=[403]), {}),
        ("download-hash", Site({"/a": CONTENT}), {"sha256": "0" * 64}),
        ("download-hash", Site({"/a": CONTENT}), {"sha256_prefix": "0123abcd"}),
        ("download-size", Site({"/a": CONTENT}), {"expected_size": 17}),
        ("download-size", Site({"/a": CONTENT}, length=False), {"expected_size": 17}),
        ("download-truncated", Site({"/a": CONTENT}, break_after=[9] * 3), {}),
        ("download-truncated", Site({"/a": CONTENT}, length=False), {"expected_size": 1 << 21}),
    ],
)
def test_failures_are_named_and_leave_the_old_file(
    tmp_path: Path, code: str, site: Site, settings: dict[str, object]
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with serve(site), pytest.raises(TagboxError) as raised:
        download_file(f"{site.url}/a", tmp_path / "a", hint="ask a friend", **settings)  # type: ignore[arg-type]
    assert raised.value.code == code
    assert site.url in str(raised.value)
    assert "ask a friend" in str(raised.value)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as raised:
        download_file(f"{closed_port_url()}/a", tmp_path / "a")
    assert raised.value.code == "download-network"


@pytest.mark.parametrize("url", ["ftp://example.org/a", "file:///etc/hosts", "nonsense"])
def test_only_web_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(TagboxError) as raised:
        download_file(url, tmp_path / "a")
    assert raised.value.code == "download-url"


def test_a_server_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RATE_SECONDS", 0.2)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with (
        serve(Site({"/a": CONTENT}, drip=0.02, length=False)) as site,
        pytest.raises(TagboxError, match=r"only \d+ bytes came in") as raised,
    ):
        download_file(f"{site.url}/a", tmp_path / "a")
    assert raised.value.code == "download-truncated" and not (tmp_path / "a").exists()


def test_a_head_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    with (
        serve(Site({"/a": CONTENT}, slow_head=True)) as site,
        pytest.raises(TagboxError, match="no answer within") as raised,
    ):
        download_file(f"{site.url}/a", tmp_path / "a")
    assert raised.value.code == "download-network"


@pytest.mark.parametrize("length", [True, False])
def test_a_file_without_an_end_meets_the_cap(
    length: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 18)
    with (
        serve(Site({"/a": CONTENT}, length=length)) as site,
        pytest.raises(TagboxError, match="more than") as raised,
    ):
        download_file(f"{site.url}/a", tmp_path / "a")
    assert raised.value.code == "download-size" and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "digest",
    ["62", "", DIGEST[:-1], DIGEST + "0", "g" * 64, f" {DIGEST[1:]}"],
    ids=["two digits", "none", "one too few", "one too many", "no digits", "a space"],
)
def test_a_digest_is_whole(digest: str, tmp_path: Path) -> None:
    with serve(Site({"/a": CONTENT})) as site, pytest.raises(TagboxError) as raised:
        download_file(f"{site.url}/a", tmp_path / "a", sha256=digest)
    assert (raised.value.code, raised.value.where) == ("config-value", "sha256")
    assert site.requests == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/größe/猫.zip", "/gr%C3%B6%C3%9Fe/%E7%8C%AB.zip"),
        ("/a b.zip", "/a%20b.zip"),
        ("/a%20b.zip?name=ü&x=%41", "/a%20b.zip?name=%C3%BC&x=%41"),
    ],
)
def test_international_paths_are_encoded(path: str, asked: str, tmp_path: Path) -> None:
    with serve(Site({asked: CONTENT})) as site:
        download_file(f"{site.url}{path}", tmp_path / "a", sha256=DIGEST)
    assert site.requests == [(asked, None)]


def test_international_hosts_are_encoded() -> None:
    """The ASCII form of a host is that of RFC 3492's tables, as browsers show it."""
    assert parse_url("http://bücher.example/a").url == "http://xn--bcher-kva.example/a"
    assert parse_url("https://EXAMPLE.org:8443").url == "https://example.org:8443/"
    assert parse_url("http://[::1]:80/a").url == "http://[::1]:80/a"


@pytest.mark.parametrize(
    "url", ["http://", "http://a b/c", "http://a:port/", "file:///a", "http://[::1/a", "x"]
)
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as raised:
        download_file(url, tmp_path / "a")
    assert raised.value.code == "download-url"


def test_a_password_is_sent_and_never_shown(tmp_path: Path) -> None:
    with serve(Site({"/a": CONTENT})) as site:
        address = site.url.replace("//", "//me:s%40cret@")
        download_file(f"{address}/a", tmp_path / "a", sha256=DIGEST)
        assert site.headers[0][1] == "Basic " + base64.b64encode(b"me:s@cret").decode()
        for url in (f"{address}/none", "http://me:s%40cret@:x/", "ftp://me:s%40cret@host/a"):
            with pytest.raises(TagboxError) as raised:
                download_file(url, tmp_path / "b")
            assert "cret" not in str(raised.value)
    assert shown_url("https://u:p@h/x@y") == "https://***@h/x@y"


SECRET = "a/a.zip?X-Amz-Signature=s3cret&token=s3cret&id=7&s3cret#s3cret"


def test_the_values_of_a_query_are_sent_and_never_shown(tmp_path: Path) -> None:
    asked = "/a/a.zip?X-Amz-Signature=s3cret&token=s3cret&id=7&s3cret"
    with serve(Site({asked: CONTENT})) as site:
        download_file(f"{site.url}/{SECRET}", tmp_path / "a", sha256=DIGEST)
        with pytest.raises(TagboxError, match="404") as raised:
            download_file(f"{site.url}/none{SECRET}", tmp_path / "b")
    assert "s3cret" not in str(raised.value) and "token=***" in str(raised.value)
    for url in (f"ftp://h/{SECRET}", f"http://127.0.0.1:9/{SECRET}", f"http://[/{SECRET}"):
        with pytest.raises(TagboxError) as raised:
            download_file(url, tmp_path / "b")
        assert "s3cret" not in str(raised.value)
    assert shown_url("https://h/a;b=1&c=2") == "https://h/a;b=1&c=2"
    assert shown_url(f"https://h/{SECRET}") == (
        "https://h/a/a.zip?X-Amz-Signature=***&token=***&id=***&***#***"
    )


def test_what_is_no_ordinary_file_in_the_place_of_the_part(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"the user's")
    part = tmp_path / ".a.part"
    with serve(Site({"/a": CONTENT})) as site:
        os.mkfifo(part)
        with pytest.raises(TagboxError, match="not an ordinary file"):
            download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
        part.unlink()
        part.symlink_to(other)
        download_file(f"{site.url}/a", tmp_path / "a", sha256=DIGEST)
    assert (tmp_path / "a").read_bytes() == CONTENT and other.read_bytes() == b"the user's"
