"""`tagbox download`: official archives, an archive by its address, the sample of COCO."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.tables import print_table
from tagbox.errors import TagboxError
from tagbox.interrupts import kept

_KEPT = "what was fetched is kept; the same command goes on from there"


def download(
    *names: str,
    out: Path | None = None,
    sha256: str | None = None,
    mirror: Annotated[str | None, Parameter(env_var="TAGBOX_COCO_URL")] = None,
    keep_archive: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Download datasets: official COCO archives, other zip files, or a sample.

    An interrupted download is resumed. Archives are verified, and unpacked completely or not at all. Of the
    files in OUT only those that this command wrote, and a zip that is the one to be downloaded, are replaced or
    removed.

    NAMES are official COCO archives (without names, these are listed with their sizes), http addresses of
    other zip files, or `coco-sample`, the 470 images that tagbox is measured on.

    Parameters
    ----------
    names
        Archives to download.
    out
        Folder to unpack into; `coco`, `coco-sample`, or the archive's name when not given.
    sha256
        Digest that the archive must have; those of the official archives are known.
    mirror
        Address that replaces http://images.cocodataset.org, such as
        https://s3.amazonaws.com/images.cocodataset.org.
    keep_archive
        Keep the zip file in OUT after it is unpacked.
    overwrite
        Download again what exists already, and replace files with different content that this command wrote.
    json
        Print what was downloaded as one JSON object.
    """
    from tagbox.data.coco_archives import (
        COCO_URL,
        SAMPLE,
        default_folder,
        describe,
        download_archive,
        download_sample,
        resolve,
    )
    from tagbox.data.http_download import shown_url

    if not names:
        _list(json)
        return
    if sha256 is not None and (len(names) > 1 or names == (SAMPLE,)):
        raise TagboxError(
            "download-name", "--sha256 is for one archive", hint="fetch the archives one by one"
        )
    mirror = mirror or COCO_URL
    for name in names:
        if name != SAMPLE:
            resolve(name, mirror)  # A misspelt second name is found before the first gigabyte.
    results: list[dict[str, object]] = []
    for name in names:
        folder = out or default_folder(name)
        if name == SAMPLE:
            with kept(_KEPT):
                download_sample(
                    folder, mirror=mirror, keep_archive=keep_archive, progress=TerminalProgress()
                )
            say(f"{SAMPLE}: {folder / 'annotations'}")
            results.append({"name": name, "folder": str(folder)})
            continue
        with kept(_KEPT):
            done = download_archive(
                name,
                folder,
                sha256=sha256,
                mirror=mirror,
                keep_archive=keep_archive,
                overwrite=overwrite,
                progress=TerminalProgress(),
            )
        say(describe(done))
        results.append(
            {
                "name": shown_url(name),
                "folder": str(done.folder),
                "url": done.url,
                "sha256": done.sha256,
                "bytes": done.size,
                "files": done.files,
                "there_already": done.there_already,
            }
        )
    if json:
        print_json({"downloads": results})


def _list(json: bool) -> None:
    from tagbox.data.coco_archives import ARCHIVES, SAMPLE
    from tagbox.data.unzip import human

    if json:
        known = {name: {"bytes": a.size, "sha256": a.sha256} for name, a in ARCHIVES.items()}
        print_json({"archives": known})
        return
    rows: list[tuple[str, str, str]] = [
        (name, human(a.size), a.contents) for name, a in ARCHIVES.items()
    ]
    rows.append((SAMPLE, "330 MB", "470 images of train2017 and val2017 with their instances"))
    print_table("tagbox download NAME", ("name", "size", "contents"), rows)
