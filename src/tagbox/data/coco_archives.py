"""Downloads of the official COCO archives, of any other zip, and of a sample of COCO by image ids.

What was downloaded into a folder is recorded in its ``downloads.json``, so that a later call does not
download it again. The SHA-256 digests of the official archives are those that several public projects
publish, all in agreement; COCO itself publishes none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from tagbox.atomic_io import atomic_write, sha256_of
from tagbox.data.download_record import (
    MANIFEST,
    Entry,
    Manifest,
    digest_of_own,
    files_below,
    is_of,
    not_own,
    own_files,
    recorded_address,
)
from tagbox.data.formats.coco import read_coco
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.http_download import Progress as FetchProgress
from tagbox.data.http_download import download_file, require_sha256, shown_url
from tagbox.data.unzip import extract_one, human, require_space, same_content, unzip
from tagbox.errors import TagboxError
from tagbox.output_folder import write_mark
from tagbox.progress import Progress, Silent

COCO_URL = "http://images.cocodataset.org"
"""COCO's own server. Its certificate belongs to the storage behind it, hence no https."""


@dataclass(frozen=True)
class Archive:
    """A zip of the COCO dataset.

    Attributes
    ----------
    path
        Below `COCO_URL` or a mirror of it.
    size
        Bytes.
    sha256
        Hex digest.
    contents
        What is in it, in words.
    """

    path: str
    size: int
    sha256: str
    contents: str


ARCHIVES = {
    "train2017": Archive(
        "zips/train2017.zip",
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        "118,287 training images",
    ),
    "val2017": Archive(
        "zips/val2017.zip",
        815_585_330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        "5,000 validation images",
    ),
    "test2017": Archive(
        "zips/test2017.zip",
        6_646_970_404,
        "c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
        "40,670 test images",
    ),
    "annotations_trainval2017": Archive(
        "annotations/annotations_trainval2017.zip",
        252_907_541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        "instances, keypoints and captions of train2017 and val2017",
    ),
    "image_info_test2017": Archive(
        "annotations/image_info_test2017.zip",
        1_144_034,
        "e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
        "ids and sizes of the test2017 images",
    ),
    "train2014": Archive(
        "zips/train2014.zip",
        13_510_573_713,
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        "82,783 training images",
    ),
    "val2014": Archive(
        "zips/val2014.zip",
        6_645_013_297,
        "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        "40,504 validation images",
    ),
    "annotations_trainval2014": Archive(
        "annotations/annotations_trainval2014.zip",
        252_872_794,
        "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        "instances, keypoints and captions of train2014 and val2014",
    ),
}


SAMPLE = "coco-sample"
SAMPLE_SPLITS = ("train2017", "val2017")
_BY_HAND = "fetch it in another way and put it there"


@dataclass(frozen=True)
class Downloaded:
    """One archive that was downloaded and unpacked.

    Attributes
    ----------
    url, sha256, size
        Address, hex digest and size in bytes of the archive.
    folder
        Where it was unpacked.
    files
        Number of files under each top-level name.
    there_already
        Whether an earlier call had downloaded and unpacked it.
    """

    url: str
    sha256: str
    size: int
    folder: Path
    files: dict[str, int]
    there_already: bool = False


def resolve(name: str, mirror: str = COCO_URL) -> tuple[str, Archive | None]:
    """The address of an archive, and its entry in `ARCHIVES`; None for an address of the user's own.

    Raises
    ------
    TagboxError
        ``download-name`` for a name that is neither.
    """
    if urlsplit(name).scheme in ("http", "https"):
        return name, None
    if name not in ARCHIVES:
        raise TagboxError(
            "download-name",
            f"{name!r} is neither an archive's name nor an http address",
            hint=f"the names are {', '.join([*ARCHIVES, SAMPLE])}",
        )
    return f"{mirror.rstrip('/')}/{ARCHIVES[name].path}", ARCHIVES[name]


def download_archive(
    name: str,
    out: Path,
    *,
    sha256: str | None = None,
    mirror: str = COCO_URL,
    keep_archive: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Downloaded:
    """Download a zip and unpack it into `out`.

    Parameters
    ----------
    name
        A name of `ARCHIVES`, or an http(s) address.
    out
        Folder; made when missing. Other archives may be unpacked in it already.
    sha256
        Hex digest that the archive must have; official ones have theirs in `ARCHIVES`.
    mirror
        Address used in place of `COCO_URL`.
    keep_archive
        Keep the zip in `out` after it is unpacked.
    overwrite
        Download again what is there already, and replace files of other content that tagbox wrote.

    Raises
    ------
    TagboxError
        ``not-made-by-tagbox`` where another file is in the way; ``download-name``, ``disk-full``, and the codes of `tagbox.data.http_download.download_file` and
        `tagbox.data.unzip.unzip`.
    """
    progress = progress or Silent()
    url, known = resolve(name, mirror)
    if sha256 is not None:
        require_sha256(sha256)
    sha256 = (sha256 or (known.sha256 if known else "")).lower() or None
    path = out / _file_name(url)
    manifest = Manifest(out / MANIFEST)
    shown = shown_url(url)
    entry = manifest.entries.get(path.name)
    if entry is not None and (not is_of(entry, url) or sha256 not in (None, entry.sha256)):
        entry = None
    if (
        entry is not None
        and entry.files is not None
        and not overwrite
        and _all_there(out, entry.files)
    ):
        return Downloaded(shown, entry.sha256, entry.bytes, out, entry.files, True)

    wanted = sha256 or (None if entry is None or entry.damaged else entry.sha256)
    recorded = manifest.entries.get(path.name)
    own = own_files(out, manifest)
    digest = digest_of_own(path, wanted, None if recorded is None else recorded.sha256)

    def record(file: Path, known_digest: str | None = sha256, **more: Any) -> str:
        digest = known_digest or sha256_of(file)
        size = file.stat().st_size
        entry = Entry(bytes=size, sha256=digest, **recorded_address(url), **more)
        manifest.record(path.name, entry)
        return digest

    fetched: list[str] = []
    if digest is None or digest != wanted or (overwrite and sha256 is None):
        with _byte_bar(progress, f"fetching {path.name}", out) as report:
            download_file(
                url,
                path,
                sha256=sha256,
                expected_size=known.size if known else None,
                progress=report,
                before_move=lambda part: fetched.append(record(part)),
                hint=_BY_HAND,
            )
    digest = record(path, fetched[0] if fetched else digest)
    size = path.stat().st_size

    try:
        with _byte_bar(progress, f"unpacking {path.name}", out) as report:
            counts = unzip(
                path,
                out,
                overwrite=overwrite,
                own=own,
                before_move=lambda names: write_mark(out, "download", names),
                progress=report,
            )
    except TagboxError as error:
        if error.code.startswith("zip-"):
            # The zip is kept for inspection; the next call downloads it again.
            record(path, digest, damaged=True)
        raise
    record(path, digest, files=counts)
    if not (keep_archive or path.is_symlink()):
        path.unlink()
    return Downloaded(shown, digest, size, out, counts)


def download_sample(
    out: Path,
    *,
    mirror: str = COCO_URL,
    keep_archive: bool = False,
    progress: Progress | None = None,
    archive: Archive = ARCHIVES["annotations_trainval2017"],
    listed: dict[str, dict[int, str]] | None = None,
) -> Path:
    """Download a sample of 470 COCO images: each image by itself, and its records from the annotations archive.

    Parameters
    ----------
    out
        Folder; gets ``train2017/``, ``val2017/`` and ``annotations/``. A file that is there already
        with the right digest is not downloaded again; of others only those that tagbox wrote are replaced.
    archive
        The annotations archive.
    listed
        Ids and SHA-256 of the images of each split; `sample_ids` unless given.

    Raises
    ------
    TagboxError
        ``sample-ids`` when the annotations lack an image; ``not-made-by-tagbox``, ``exists``; ``disk-full``; and the codes of `download_file`,
        `unzip` and `read_coco`.
    """
    progress = progress or Silent()
    mirror = mirror.rstrip("/")
    listed = listed or sample_ids()
    total = sum(len(images) for images in listed.values())
    own, written = own_files(out, Manifest(out / MANIFEST)), []
    try:
        with progress.bar("fetching pictures", total, "images") as advance:
            for split, images in listed.items():
                for image_id, sha256 in images.items():
                    name = f"{split}/{image_id:012d}.jpg"
                    path = out / name
                    if not (path.is_file() and sha256_of(path) == sha256):
                        if os.path.lexists(path) and not own(name):
                            raise not_own(path)
                        download_file(f"{mirror}/{name}", path, sha256=sha256, hint=_BY_HAND)
                        written.append(name)
                    advance(1)
    finally:
        if written:
            write_mark(out, "download", written)

    path = out / Path(archive.path).name
    if digest_of_own(path, archive.sha256) is None:
        with _byte_bar(progress, f"fetching {path.name}", out) as report:
            url, size = f"{mirror}/{archive.path}", archive.size
            download_file(
                url, path, sha256=archive.sha256, expected_size=size, progress=report, hint=_BY_HAND
            )
    for split, images in listed.items():
        progress.say(f"picking {len(images)} images from instances_{split}.json")
        _write_subset(path, split, np.array(sorted(images), np.int64), out)
    if not (keep_archive or path.is_symlink()):
        path.unlink()
    return out


def sample_ids() -> dict[str, dict[int, str]]:
    """Image id to SHA-256 of the file, for each split of the sample."""
    lines = files("tagbox.data").joinpath("coco_sample.csv").read_text().splitlines()[1:]
    result: dict[str, dict[int, str]] = {split: {} for split in SAMPLE_SPLITS}
    for line in lines:
        split, image_id, sha256 = line.split(",")
        result[split][int(image_id)] = sha256
    return result


def _write_subset(archive: Path, split: str, ids: np.ndarray[Any, Any], out: Path) -> None:
    member = f"annotations/instances_{split}.json"
    with extract_one(archive, member, out) as source:
        dataset = read_coco(source, out / split)
        rows = np.flatnonzero(np.isin(dataset.images.ids, ids))
        if len(rows) != len(ids):
            missing = np.setdiff1d(ids, dataset.images.ids)
            raise TagboxError(
                "sample-ids",
                f"{len(missing)} images of the sample are not in it, the first is {missing[0]}",
                file=archive,
                where=member,
                hint="use the official annotations_trainval2017.zip",
            )
        rows = rows[np.argsort(dataset.images.ids[rows])]
        subset, target = source.with_name("subset.json"), out / member
        write_coco(dataset.take(rows), subset)
        if os.path.lexists(target) and not same_content(target, subset):
            raise TagboxError(
                "exists",
                "already there with another content",
                file=target,
                hint="move it away, or choose another folder with --out",
            )
        write_mark(out, "download", [member])
        atomic_write(target, subset.read_bytes())


def _all_there(folder: Path, counts: dict[str, int]) -> bool:
    """Whether each top-level name holds at least as many files as in the archive."""
    return all(
        (folder / top).is_file() or files_below(folder / top) >= count
        for top, count in counts.items()
    )


@contextmanager
def _byte_bar(progress: Progress, description: str, folder: Path) -> Iterator[FetchProgress]:
    """A progress bar that opens with the first report; raises ``disk-full`` if the total does not fit."""
    with ExitStack() as stack:
        advance: Any = None
        reported = 0

        def report(received: int, total: int | None) -> None:
            nonlocal advance, reported
            if advance is None:
                if total is not None:
                    require_space(folder, total - received, description)
                advance = stack.enter_context(progress.bar(description, total or 0, "bytes"))
            advance(received - reported)
            reported = received

        yield report


def default_folder(name: str) -> Path:
    """Folder for `name` when the user gives none: official archives share one."""
    if name == SAMPLE or name in ARCHIVES:
        return Path(SAMPLE if name == SAMPLE else "coco")
    return Path(Path(_file_name(name)).stem)


def _file_name(url: str) -> str:
    """A safe name for the archive at `url`."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", last).lstrip(".") or "archive.zip"


def describe(done: Downloaded) -> str:
    """One line: what was downloaded, and where it is."""
    parts = ", ".join(f"{top} ({count} files)" for top, count in done.files.items())
    verb = "there already" if done.there_already else f"{human(done.size)}, sha256 {done.sha256}"
    return f"{_file_name(done.url)}: {verb}; {done.folder}: {parts}"
