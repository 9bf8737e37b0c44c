"""Settings for reading a dataset and for generating one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagbox.config.base import Config, require, require_seed


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """How a dataset is read."""

    images: Path | None = None
    """Folder of the images; when not given, they are searched for near the labels."""
    format: Literal["auto", "coco", "cls", "labels", "csv", "yolo", "labelme", "voc", "folders"] = (
        "auto"
    )
    """Format of the dataset; auto detects it."""
    split: str | None = None
    """Name of the split to read where the dataset states several, such as `train`; `check` and `split` take a saved
    `split.json`, too."""
    names: Path | None = None
    """File of category names, one per line, for formats that hold only indices."""
    categories: tuple[str, ...] = ()
    """Keep only these categories."""
    group_by: Literal["supercategory"] | None = None
    """Merge categories by their supercategory."""
    mapping: Path | None = None
    """YAML file of `old name: new name` that renames and merges categories; `null` drops one."""
    max_images: int | None = None
    """Images in a seeded, stratified sample; all images when not given."""
    sample_seed: int = 0
    """Random seed of the sample."""
    crowd_is_present: bool = True
    """Count a crowd region as its category being present in the image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.sample_seed, "sample_seed")
        require(
            self.max_images is None or self.max_images > 0, "max_images", self.max_images, "above 0"
        )


@dataclass(frozen=True, kw_only=True)
class SynthConfig(Config):
    """Size and format of a generated dataset."""

    images: int = 1000
    """Number of training images."""
    val: int = 0
    """Number of validation images."""
    test: int = 0
    """Number of test images."""
    width: int = 640
    """Width of the images in pixels."""
    height: int = 480
    """Height of the images in pixels."""
    seed: int = 0
    """Random seed; the same seed gives the same bytes."""
    categories: tuple[str, ...] = ()
    """Draw only objects of these categories, such as `butterfly`; of all 14 when not given."""
    format: Literal["coco", "cls"] = "coco"
    """COCO JSON files with the images beside them, or a challenge folder with `.cls` labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.images <= 10**8, "images", self.images, "from 1 to 100000000")
        for name in ("val", "test"):
            value = getattr(self, name)
            require(0 <= value <= 10**8, name, value, "from 0 to 100000000")
        for name in ("width", "height"):
            require(32 <= getattr(self, name) <= 8192, name, getattr(self, name), "from 32 to 8192")
        require_seed(self.seed)
