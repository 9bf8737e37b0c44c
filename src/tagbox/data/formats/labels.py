"""Labels in the challenge's JSON form, as a dataset: truth to score against, pictures optional."""

from __future__ import annotations

from pathlib import Path

from tagbox.data import coco80
from tagbox.data.dataset import Categories, Dataset
from tagbox.data.formats.common import (
    build_dataset,
    by_stem,
    from_label_lists,
    names_beside,
    read_names,
    write_names,
)
from tagbox.data.locate import candidate_folders, is_image
from tagbox.data.submission import read_submission, write_submission
from tagbox.errors import TagboxError


def read_labels(path: Path, images: Path | None = None, names: Path | None = None) -> Dataset:
    """Read ``{"000000000139": [56, 60], …}``.

    Parameters
    ----------
    path
        The file; see `tagbox.data.submission` for its strict form.
    images
        Folder of the pictures. Without any picture found the files are ``KEY.jpg``.
    names
        Category names; else ``classes.txt`` beside the file, else COCO's 80.

    Raises
    ------
    TagboxError
        The codes of `tagbox.data.submission.read_submission`, ``images-folder-missing``.
    """
    names = names or names_beside(path)
    categories = coco80.categories() if names is None else Categories.from_names(read_names(names))
    labels = read_submission(path, len(categories))
    if images is not None and not images.is_dir():
        raise TagboxError(
            "images-folder-missing", "no such folder", file=images, hint="check --images"
        )
    root, index = path.parent, {}
    for place in [images] if images is not None else candidate_folders(path):
        pictures = by_stem([entry.name for entry in place.iterdir() if is_image(entry.name)], place)
        if labels.keys() & pictures.keys():
            root, index = place, pictures
            break
    return build_dataset(
        path=path,
        format="labels",
        root=root,
        files=[index.get(key, f"{key}.jpg") for key in labels],
        categories=categories,
        annotations=from_label_lists(list(labels.values())),
        labelled=[True] * len(labels),
    )


def write_labels(dataset: Dataset, path: Path) -> None:
    """Write the labelled images' categories in the challenge's JSON form.

    Categories other than COCO's 80 are written to ``classes.txt`` beside it.

    Raises
    ------
    TagboxError
        ``image-ambiguous`` when two pictures share a stem, ``labels-unknown`` when the dataset
        holds labels that are neither present nor absent: the form cannot say so.
    """
    stems = dataset.images.stems.tolist()
    by_stem(dataset.images.files.tolist(), dataset.images.root)
    if len(dataset.unknown):
        raise TagboxError(
            "labels-unknown",
            "some labels are unknown, which this form cannot say",
            file=dataset.source.path,
            hint="write CSV instead",
        )
    if dataset.categories.names != coco80.NAMES:
        write_names(dataset, path.parent)
    labels = dataset.labels == 1
    write_submission(
        path,
        {
            stems[row]: labels[row].nonzero()[0].tolist()
            for row in dataset.images.labelled.nonzero()[0].tolist()
        },
    )
