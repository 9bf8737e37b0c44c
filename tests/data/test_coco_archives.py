"""Archives and the sample, against a server on loopback that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from loopback_server import Site, closed_port_url, serve
from tagbox.data import coco_archives as module
from tagbox.data import http_download as fetching
from tagbox.data.coco_archives import (
    ARCHIVES,
    Archive,
    default_folder,
    download_archive,
    download_sample,
    resolve,
    sample_ids,
)
from tagbox.data.download_record import MANIFEST
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError
from tagbox.output_folder import MARK, marked_files
from user_files import hashes


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FILES = {"val2017/000000000139.jpg": b"picture" * 9000, "val2017/000000000285.jpg": b"other"}
ZIP = zip_of(FILES)
DIGEST = hashlib.sha256(ZIP).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_archive_by_its_address(tmp_path: Path) -> None:
    with serve(Site({"/data/My%20set.zip": ZIP})) as site:
        url = f"{site.url}/data/My%20set.zip"
        done = download_archive(url, tmp_path / "out")
        assert (done.sha256, done.size, done.files) == (DIGEST, len(ZIP), {"val2017": 2})
        manifest = json.loads((tmp_path / "out" / MANIFEST).read_bytes())
        assert manifest == {
            "My_set.zip": {
                "url": url,
                "bytes": len(ZIP),
                "sha256": DIGEST,
                "files": {"val2017": 2},
            }
        }
        found = files_in(tmp_path / "out")
        assert found.pop(MANIFEST) and found.pop(MARK)
        assert found == FILES

        again = download_archive(url, tmp_path / "out")
        assert again.there_already
        assert len(site.requests) == 1
        # A file that was lost is noticed, and everything comes again.
        (tmp_path / "out" / "val2017" / "000000000285.jpg").unlink()
        assert not download_archive(url, tmp_path / "out").there_already
        assert len(site.requests) == 2
        assert (tmp_path / "out" / "val2017" / "000000000285.jpg").read_bytes() == b"other"


def test_addresses_that_differ_in_their_query(tmp_path: Path) -> None:
    """The record does not hold the query's values, but knows them again."""
    other = zip_of({"val2017/1.jpg": b"1"})
    with serve(Site({"/a.zip?id=s3cret": ZIP, "/a.zip?id=2": other})) as site:
        url = f"{site.url}/a.zip?id=s3cret"
        download_archive(url, tmp_path)
        assert download_archive(url, tmp_path).there_already
        assert "s3cret" not in (tmp_path / MANIFEST).read_text()
        assert not download_archive(f"{site.url}/a.zip?id=2", tmp_path).there_already
        assert (tmp_path / "val2017" / "1.jpg").read_bytes() == b"1"
        # A record of an earlier version holds the query itself.
        record = json.loads((tmp_path / MANIFEST).read_bytes())
        record["a.zip"]["url"] = f"{site.url}/a.zip?id=2"
        del record["a.zip"]["query_sha256"]
        (tmp_path / MANIFEST).write_text(json.dumps(record))
        assert download_archive(f"{site.url}/a.zip?id=2", tmp_path).there_already


def test_an_official_archive_from_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHIVES, "val2017", Archive("zips/val2017.zip", len(ZIP), DIGEST, "two"))
    with serve(Site({"/mirror/zips/val2017.zip": ZIP})) as site:
        mirror = f"{site.url}/mirror/"
        done = download_archive("val2017", tmp_path, mirror=mirror, keep_archive=True)
        assert done.url == f"{site.url}/mirror/zips/val2017.zip"
        assert (tmp_path / "val2017.zip").read_bytes() == ZIP
        # The kept archive serves again without the network.
        (tmp_path / "val2017" / "000000000139.jpg").unlink()
        download_archive("val2017", tmp_path, mirror=mirror)
        assert len(site.requests) == 1
        assert (tmp_path / "val2017" / "000000000139.jpg").read_bytes() == b"picture" * 9000


def test_two_archives_share_a_folder(tmp_path: Path) -> None:
    more = zip_of({"annotations/a.json": b"{}", "val2017/000000000724.jpg": b"third"})
    with serve(Site({"/one.zip": ZIP, "/two.zip": more})) as site:
        download_archive(f"{site.url}/one.zip", tmp_path)
        download_archive(f"{site.url}/two.zip", tmp_path)
    assert sorted(files_in(tmp_path / "val2017")) == [
        "000000000139.jpg",
        "000000000285.jpg",
        "000000000724.jpg",
    ]
    assert sorted(json.loads((tmp_path / MANIFEST).read_bytes())) == ["one.zip", "two.zip"]


def test_a_connection_that_breaks_again_and_again(tmp_path: Path) -> None:
    with serve(Site({"/a.zip": ZIP}, break_after=[1000, 30_000, 5])) as site:
        with pytest.raises(TagboxError) as caught:
            download_archive(f"{site.url}/a.zip", tmp_path, sha256=DIGEST)
        assert caught.value.code == "download-truncated"
        assert not (tmp_path / "val2017").exists()
        download_archive(f"{site.url}/a.zip", tmp_path, sha256=DIGEST.upper())
        assert [asked for _, asked in site.requests][1:] == [
            "bytes=1000-",
            "bytes=31000-",
            "bytes=31005-",
        ]
    assert files_in(tmp_path / "val2017") == {
        name.partition("/")[2]: content for name, content in FILES.items()
    }


@pytest.mark.parametrize(
    ("site", "code"),
    [
        (Site({}), "download-status"),
        (Site({"/a.zip": ZIP}, statuses=[403]), "download-status"),
        (Site({"/a.zip": ZIP}, statuses=[500] * 9), "download-status"),
        (Site({"/a.zip": ZIP + b"more"}), "download-hash"),
        (Site({"/a.zip": ZIP[:-40]}), "download-hash"),
        (Site({"/a.zip": b"<html>log in first</html>"}), "download-hash"),
    ],
    ids=["404", "403", "500", "longer", "shorter", "web page"],
)
def test_what_is_not_the_archive_is_never_unpacked(tmp_path: Path, site: Site, code: str) -> None:
    fresh = replace(site, statuses=list(site.statuses))
    with serve(fresh), pytest.raises(TagboxError) as caught:
        download_archive(f"{fresh.url}/a.zip", tmp_path / "out", sha256=DIGEST)
    assert caught.value.code == code
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"<html>log in first</html>", "zip-corrupt"),
        (ZIP[:-40], "zip-corrupt"),
        (zip_of({"../evil": b"x"}), "zip-path"),
    ],
    ids=["web page", "truncated", "climbs out"],
)
def test_a_bad_archive_of_unknown_digest(tmp_path: Path, content: bytes, code: str) -> None:
    with serve(Site({"/a.zip": content})) as site:
        for _ in range(2):
            with pytest.raises(TagboxError) as caught:
                download_archive(f"{site.url}/a.zip", tmp_path / "out")
            assert caught.value.code == code
        # A broken archive is not kept as if it were good: the second call asked again.
        assert len(site.requests) == 2
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("sha256", [None, DIGEST], ids=["no digest", "digest"])
@pytest.mark.parametrize("kind", ["zip", "link", "folder"])
def test_a_zip_of_the_user_is_neither_replaced_nor_removed(
    tmp_path: Path, kind: str, sha256: str | None, overwrite: bool
) -> None:
    (tmp_path / "mine.zip").write_bytes(zip_of({"mine.txt": b"mine"}))
    mine = tmp_path / "out/a.zip"
    mine.parent.mkdir()
    match kind:
        case "zip":
            mine.write_bytes((tmp_path / "mine.zip").read_bytes())
        case "link":
            mine.symlink_to(tmp_path / "mine.zip")
        case "folder":
            mine.mkdir()
            (mine / "mine.txt").write_text("mine")
    before = hashes(tmp_path)
    with serve(Site({"/a.zip": ZIP})) as site, pytest.raises(TagboxError) as caught:
        download_archive(f"{site.url}/a.zip", tmp_path / "out", sha256=sha256, overwrite=overwrite)
    assert (caught.value.code, caught.value.file) == ("not-made-by-tagbox", str(mine))
    assert site.requests == []
    assert hashes(tmp_path) == before


def test_a_zip_that_the_user_fetched_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ZIP)
    download_archive(f"{closed_port_url()}/a.zip", tmp_path, sha256=DIGEST, keep_archive=True)
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert (tmp_path / "val2017/000000000285.jpg").read_bytes() == b"other"


@pytest.mark.parametrize("kind", ["file", "link", "folder", "file above"])
def test_files_of_the_user_are_not_replaced(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    mine = out / ("val2017" if kind == "file above" else "val2017/000000000285.jpg")
    mine.parent.mkdir(parents=True)
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    match kind:
        case "file" | "file above":
            mine.write_bytes(b"mine")
        case "link":
            mine.symlink_to(tmp_path / "mine.jpg")
        case "folder":
            mine.mkdir()
            (mine / "mine.txt").write_text("mine")
    before = hashes(tmp_path)
    with serve(Site({"/a.zip": ZIP})) as site:
        with pytest.raises(TagboxError) as caught:
            download_archive(f"{site.url}/a.zip", out, overwrite=True)
        code = "exists" if kind == "file above" else "not-made-by-tagbox"
        assert caught.value.code == code
        assert before.items() <= hashes(tmp_path).items()
        assert len(files_in(out / "val2017")) <= 1  # Nothing was moved.
        mine.rename(tmp_path / "moved away")
        download_archive(f"{site.url}/a.zip", out, overwrite=True)
    assert len(files_in(out / "val2017")) == 2


@pytest.mark.parametrize("earlier", [False, True], ids=["marked", "of an earlier version"])
@pytest.mark.parametrize("added", [False, True], ids=["as it was", "with a file of the user"])
def test_what_was_downloaded_is_replaced(tmp_path: Path, earlier: bool, added: bool) -> None:
    newer = zip_of({**FILES, "val2017/000000000285.jpg": b"newer"})
    site = Site({"/a.zip": ZIP})
    with serve(site):
        download_archive(f"{site.url}/a.zip", tmp_path)
        if earlier:
            (tmp_path / MARK).unlink()
        if added:
            (tmp_path / "val2017/mine.jpg").write_bytes(b"mine")
        site.files["/a.zip"] = newer
        if earlier and added:  # Which of the files is the user's cannot be told.
            with pytest.raises(TagboxError, match=r"285\.jpg") as caught:
                download_archive(f"{site.url}/a.zip", tmp_path, overwrite=True)
            assert caught.value.code == "not-made-by-tagbox"
            return
        download_archive(f"{site.url}/a.zip", tmp_path, overwrite=True)
    assert (tmp_path / "val2017/000000000285.jpg").read_bytes() == b"newer"
    assert (tmp_path / "val2017/mine.jpg").exists() == added
    assert marked_files(tmp_path) == set(FILES)


def test_a_mark_in_an_archive_is_not_taken(tmp_path: Path) -> None:
    forged = {"format": "tagbox-output", "command": "split", "files": {"": ["mine.txt"]}}
    (tmp_path / "mine.txt").write_text("mine")
    with serve(Site({"/a.zip": zip_of({MARK: json.dumps(forged).encode(), **FILES})})) as site:
        download_archive(f"{site.url}/a.zip", tmp_path)
    assert marked_files(tmp_path) == set(FILES)


@pytest.mark.parametrize(
    "name", ["train2017/000000000011.jpg", "a.zip", "annotations/instances_train2017.json"]
)
def test_the_sample_replaces_no_file_of_the_user(tmp_path: Path, name: str) -> None:
    site, archive, listed = small_sample()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    arguments: dict[str, Any] = {"archive": archive, "listed": listed}
    with serve(site):
        with pytest.raises(TagboxError) as caught:
            download_sample(tmp_path, mirror=site.url, **arguments)
        assert caught.value.code in ("not-made-by-tagbox", "exists")
        assert caught.value.file == str(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()
        download_sample(tmp_path, mirror=site.url, **arguments)
    assert load_dataset(tmp_path / "annotations/instances_train2017.json").images.ids.size == 2


def test_a_kill_between_fetching_and_unpacking_costs_no_second_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with serve(Site({"/a.zip": ZIP})) as site:
        with monkeypatch.context() as patch:
            patch.setattr(module, "unzip", killed)
            with pytest.raises(KeyboardInterrupt):
                download_archive(f"{site.url}/a.zip", tmp_path)
        done = download_archive(f"{site.url}/a.zip", tmp_path)
        assert not done.there_already
        assert len(site.requests) == 1


def test_a_full_disk_is_known_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tagbox.data import unzip

    usage = unzip.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(unzip.shutil, "disk_usage", lambda _: usage._replace(free=100))
    site = Site({"/a.zip": ZIP})
    with serve(site), pytest.raises(TagboxError) as caught:
        download_archive(f"{site.url}/a.zip", tmp_path)
    assert caught.value.code == "disk-full"
    assert sum(len(content) for content in files_in(tmp_path).values()) < 1000


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        download_archive("val2017", tmp_path, mirror=closed_port_url())
    assert caught.value.code == "download-network"
    assert "another way" in str(caught.value)


def test_names_and_folders() -> None:
    assert resolve("val2017")[0] == "http://images.cocodataset.org/zips/val2017.zip"
    assert resolve("https://example.org/x.zip") == ("https://example.org/x.zip", None)
    with pytest.raises(TagboxError, match="val2017") as caught:
        resolve("val2018")
    assert caught.value.code == "download-name"
    assert default_folder("val2017") == Path("coco")
    assert default_folder("coco-sample") == Path("coco-sample")
    assert default_folder("https://example.org/a/challenge.zip?token=1") == Path("challenge")
    assert default_folder("https://example.org/..%2F..%2Fevil.zip") == Path("evil")
    assert default_folder("https://example.org/") == Path("archive")


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("[1, 2")
    with pytest.raises(TagboxError) as caught:
        download_archive("val2017", tmp_path, mirror=closed_port_url())
    assert caught.value.code == "downloads-file"
    assert caught.value.file == str(tmp_path / MANIFEST)


def test_the_known_digests_are_digests() -> None:
    for archive in ARCHIVES.values():
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert archive.size > 10**6
    listed = sample_ids()
    assert {split: len(images) for split, images in listed.items()} == {
        "train2017": 337,
        "val2017": 133,
    }
    assert all(len(bytes.fromhex(d)) == 32 for images in listed.values() for d in images.values())


def small_sample() -> tuple[Site, Archive, dict[str, dict[int, str]]]:
    """A server with an annotations archive of six images a split, of which two are the sample."""
    site = Site({})
    members, listed = {}, {}
    for split, first in (("train2017", 10), ("val2017", 50)):
        images = [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": 8, "height": 8, "license": 3}
            for i in (first + 5, first + 1, first + 4, first, first + 2, first + 3)
        ]
        document = {
            "info": {"year": 2017},
            "images": images,
            "annotations": [
                {"id": 900 + i["id"], "image_id": i["id"], "category_id": 7, "bbox": [1, 2, 3, 4.50],
                 "area": 12.0, "iscrowd": 0, "segmentation": [[1, 2, 3]]}
                for i in images
            ],
            "categories": [{"id": 7, "name": "train", "supercategory": "vehicle"}],
        }  # fmt: skip
        members[f"annotations/instances_{split}.json"] = json.dumps(document).encode()
        listed[split] = {}
        for i in (first + 1, first + 4):
            content = f"picture {i}".encode()
            site.files[f"/{split}/{i:012d}.jpg"] = content
            listed[split][i] = hashlib.sha256(content).hexdigest()
    content = zip_of(members)
    site.files["/annotations/a.zip"] = content
    digest = hashlib.sha256(content).hexdigest()
    return site, Archive("annotations/a.zip", len(content), digest, ""), listed


def test_the_sample_is_rebuilt_from_ids(tmp_path: Path) -> None:
    site, archive, listed = small_sample()
    with serve(site):
        arguments: dict[str, Any] = {"mirror": site.url, "archive": archive, "listed": listed}
        download_sample(tmp_path, **arguments)
        asked = len(site.requests)
        assert asked == 5
        dataset = load_dataset(tmp_path / "annotations" / "instances_val2017.json")
        assert dataset.images.ids.tolist() == [51, 54]
        assert dataset.images.path(0).read_bytes() == b"picture 51"
        written = json.loads((tmp_path / "annotations/instances_val2017.json").read_bytes())
        assert [record["id"] for record in written["annotations"]] == [951, 954]
        assert written["annotations"][0]["segmentation"] == [[1, 2, 3]]
        assert written["images"][0]["license"] == 3
        assert not (tmp_path / "a.zip").exists()
        # A picture that was damaged since comes again, the others do not.
        (tmp_path / "val2017" / "000000000051.jpg").write_bytes(b"scribble")
        download_sample(tmp_path, **arguments)
        assert len(site.requests) == asked + 2
        assert (tmp_path / "val2017" / "000000000051.jpg").read_bytes() == b"picture 51"


def test_a_picture_of_the_sample_that_changed_is_refused(tmp_path: Path) -> None:
    site, archive, listed = small_sample()
    site.files["/val2017/000000000054.jpg"] = b"another picture"
    with serve(site), pytest.raises(TagboxError) as caught:
        download_sample(tmp_path, mirror=site.url, archive=archive, listed=listed)
    assert caught.value.code == "download-hash"
    assert not (tmp_path / "val2017" / "000000000054.jpg").exists()


def test_annotations_without_an_image_of_the_sample(tmp_path: Path) -> None:
    site, archive, listed = small_sample()
    site.files["/train2017/000000000099.jpg"] = b"x"
    listed["train2017"][99] = hashlib.sha256(b"x").hexdigest()
    with serve(site), pytest.raises(TagboxError, match="99") as caught:
        download_sample(tmp_path, mirror=site.url, archive=archive, listed=listed)
    assert caught.value.code == "sample-ids"
    assert list((tmp_path).glob(".*.tmp")) == []


def test_the_listed_sample_is_the_one_at_hand(shared_data: Path, tmp_path: Path) -> None:
    """Served from disk, the listed pictures arrive; the records are those of the sample."""
    sample = shared_data / "coco-sample"
    listed = sample_ids()
    few = {split: dict(list(images.items())[:4]) for split, images in listed.items()}
    members = {
        f"annotations/instances_{split}.json": (
            sample / "annotations" / f"instances_{split}.json"
        ).read_bytes()
        for split in listed
    }
    content = zip_of(members)
    site = Site({"/annotations/a.zip": content})
    for split, images in listed.items():
        on_disk = {path.name for path in (sample / split).iterdir()}
        assert on_disk == {f"{image_id:012d}.jpg" for image_id in images}
        for image_id in few[split]:
            name = f"{split}/{image_id:012d}.jpg"
            site.files[f"/{name}"] = (sample / name).read_bytes()
    archive = Archive("annotations/a.zip", len(content), hashlib.sha256(content).hexdigest(), "")
    with serve(site):
        download_sample(tmp_path, mirror=site.url, archive=archive, listed=few)
    for split, images in few.items():
        dataset = load_dataset(tmp_path / "annotations" / f"instances_{split}.json")
        assert dataset.images.ids.tolist() == sorted(images)
        assert len(dataset.categories) == 80


def test_the_command(tmp_path: Path, cli: Callable[..., CompletedProcess[str]]) -> None:
    with serve(Site({"/set.zip": ZIP})) as site:
        url = f"{site.url}/set.zip"
        done = cli("download", url, "--sha256", DIGEST, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["downloads"]
        assert found["folder"] == "set" and found["files"] == {"val2017": 2}
        assert DIGEST in done.stderr
        assert files_in(tmp_path / "set" / "val2017")
        wrong = cli("download", url, "--sha256", "0" * 64, "--out", "other", cwd=tmp_path)
        assert wrong.returncode == 1
        assert "[download-hash]" in wrong.stderr and "Traceback" not in wrong.stderr
        assert files_in(tmp_path / "other") == {}
        missing = cli("download", "val2017", cwd=tmp_path, env={"TAGBOX_COCO_URL": site.url})
        assert missing.returncode == 1
        assert "404" in missing.stderr and f"{site.url}/zips/val2017.zip" in missing.stderr
    for wrong_names in (
        ["val2018"],
        [url, url, "--sha256", DIGEST],
        ["coco-sample", "--sha256", "1"],
    ):
        done = cli("download", *wrong_names, cwd=tmp_path)
        assert done.returncode == 1 and "[download-name]" in done.stderr


def test_the_list_of_archives(cli: Callable[..., CompletedProcess[str]]) -> None:
    done = cli("download")
    assert done.returncode == 0
    assert all(name in done.stdout for name in [*ARCHIVES, "coco-sample"])


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"a.zip": {}}',
        '{"a.zip": {"url": 3, "bytes": 1, "sha256": "' + "0" * 64 + '"}}',
        '{"a.zip": {"url": "u", "bytes": -1, "sha256": "' + "0" * 64 + '"}}',
        '{"a.zip": {"url": "u", "bytes": 1, "sha256": "62"}}',
        '{"a.zip": {"url": "u", "bytes": 1, "sha256": "' + "0" * 64 + '", "files": {"../x": 1}}}',
        "{" * 5000,
        '{"a.zip": {"url": "u", "bytes": 1e999}}',
    ],
)
def test_a_damaged_manifest(content: str, tmp_path: Path) -> None:
    (tmp_path / "downloads.json").write_text(content)
    with pytest.raises(TagboxError) as raised:
        download_archive("http://127.0.0.1:9/a.zip", tmp_path)
    assert raised.value.code == "downloads-file"
