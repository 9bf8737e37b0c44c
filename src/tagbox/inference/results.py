"""What `predict` returns: a sequence with one result an image, which prints, shows pictures and becomes a DataFrame."""

from __future__ import annotations

import operator
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.data.image_files import collect_images
from tagbox.errors import TagboxError
from tagbox.images.decode import ImageInput, decode_source, image_name, image_source
from tagbox.images.gallery import Figure, gallery
from tagbox.tables import Table

if TYPE_CHECKING:
    from PIL.Image import Image

    from tagbox.images.box_drawing import DrawnBox

Images: TypeAlias = "ImageInput | Dataset | Iterable[ImageInput]"
"""A path, folder or pattern, encoded bytes, a PIL image or an (H, W, 3) uint8 RGB array; any number of these, folders
among them; (N, H, W, 3) uint8; or a dataset, of which all images are meant."""
_SHOWN = 20

R = TypeVar("R", bound="ImageResult")


class ImageInputs:
    """The single images that `Images` stands for, with their names; to be iterated once.

    A folder stands for the images in and below it. What cannot be asked for again, the images of a generator that
    are no paths, is not kept.
    """

    def __init__(self, images: Images) -> None:
        self.names: list[str] = []
        self.sources: list[ImageInput | None] = []
        self._given: Iterable[Any]
        self._keeps = True
        self._named: list[str] | None = None
        if isinstance(images, (str, Path)):
            self._given = collect_images([images])
        elif isinstance(images, Dataset):
            self._given = [images.images.path(row) for row in range(len(images))]
            self._named = images.images.files.tolist()
        elif isinstance(images, (bytes, bytearray, memoryview)):
            self._given = [bytes(images)]
        elif isinstance(images, np.ndarray):
            self._given = images if images.ndim == 4 else [images]
        elif isinstance(images, Iterable):
            self._given, self._keeps = images, isinstance(images, Sequence)
        else:
            self._given = [images]

    def __iter__(self) -> Iterator[ImageInput]:
        for each in self._given:
            inside = isinstance(each, (str, Path)) and self._named is None and os.path.isdir(each)
            for image in collect_images([each]) if inside else [each]:
                number = len(self.names)
                name = image_name(image, number) if self._named is None else self._named[number]
                self.names.append(name)
                kept = self._keeps or isinstance(image, (str, Path))
                self.sources.append(image if kept else None)
                yield image


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ImageResult:
    """What was predicted for one image.

    Attributes
    ----------
    name
        Its path, as the dataset names it, or ``image 3`` where there is none.
    categories
        The K categories of the model.
    error
        Why it could not be read; None where it could.
    source
        What was given; None of a generator's images that are no paths.
    """

    name: str
    categories: tuple[str, ...]
    error: TagboxError | None
    source: ImageInput | None

    @property
    def path(self) -> Path | None:
        """Its file; None where it was given as bytes, image or array."""
        return Path(self.source) if isinstance(self.source, (str, Path)) else None

    @property
    def image(self) -> Image:
        """The picture, upright RGB; a file is read whenever this is asked for.

        Raises
        ------
        TagboxError
            The codes of `images.decode.image_source` and `decode_bytes`; ``image-missing`` where the image came from
            a generator and is gone.
        """
        from PIL import Image

        return Image.fromarray(self._read())

    def _read(self) -> NDArray[np.uint8]:
        if self.source is None:
            raise TagboxError(
                "image-missing",
                "it came from a generator and was not kept",
                file=self.name,
                hint="predict paths or a list",
            )
        return decode_source(image_source(self.source, self.name), file=self.name)

    @abstractmethod
    def text(self) -> str:
        """What was predicted, in words."""

    def _boxes(self) -> list[DrawnBox]:
        return []

    def figure(self) -> Figure:
        """The picture with what was predicted, for a notebook."""
        if self.error is not None:
            return Figure(title=self.name, read=None, caption=[str(self.error)])
        read = None if self.source is None else self._read
        return Figure(title=self.name, read=read, boxes=self._boxes(), caption=[self.text()])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.error or self.text()}>"

    def _repr_html_(self) -> str:
        return gallery([self.figure()])


class Results(Sequence[R], Generic[R]):
    """The results of N images, in their order."""

    names: tuple[str, ...]
    sources: tuple[ImageInput | None, ...]
    categories: tuple[str, ...]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]

    def __len__(self) -> int:
        return len(self.ok)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        """The result of image `index`, or a list of results."""
        if isinstance(index, slice):
            return [self._result(row) for row in range(len(self))[index]]
        return self._result(range(len(self))[operator.index(index)])

    @abstractmethod
    def _result(self, row: int) -> R: ...

    def _error(self, row: int) -> TagboxError | None:
        return None if self.ok[row] else self.errors[int((~self.ok[:row]).sum())]

    def table(self) -> Table:
        """A row an image: its name, and what was predicted in words."""
        rows = [
            {"image": each.name, "predicted": str(each.error) if each.error else each.text()}
            for each in self
        ]
        return Table(rows, ("image", "predicted"))

    def _summary(self) -> str:
        failed = int((~self.ok).sum())
        more = f", {failed:,} of which could not be read" if failed else ""
        return f"{len(self):,} image{'s' * (len(self) != 1)}{more}"

    def __repr__(self) -> str:
        rows = [{"image": r.name, "predicted": r.error or r.text()} for r in self[:_SHOWN]]
        more = len(self) - len(rows)
        table = repr(Table(rows, ("image", "predicted"))) if rows else ""
        return "\n".join([self._summary(), table, *([f"… and {more:,} more"] if more else [])])

    def _repr_html_(self) -> str:
        return gallery((each.figure() for each in self), len(self), self._summary())
