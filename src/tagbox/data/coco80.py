"""The 80 categories of COCO instances, in order: the index is what ``.cls`` files and submissions hold."""

from __future__ import annotations

import numpy as np

from tagbox.data.dataset import Categories

_GROUPS = {
    "person": "person",
    "vehicle": "bicycle,car,motorcycle,airplane,bus,train,truck,boat",
    "outdoor": "traffic light,fire hydrant,stop sign,parking meter,bench",
    "animal": "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe",
    "accessory": "backpack,umbrella,handbag,tie,suitcase",
    "sports": "frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket",
    "kitchen": "bottle,wine glass,cup,fork,knife,spoon,bowl",
    "food": "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake",
    "furniture": "chair,couch,potted plant,bed,dining table,toilet",
    "electronic": "tv,laptop,mouse,remote,keyboard,cell phone",
    "appliance": "microwave,oven,toaster,sink,refrigerator",
    "indoor": "book,clock,vase,scissors,teddy bear,hair drier,toothbrush",
}

NAMES: tuple[str, ...] = tuple(name for group in _GROUPS.values() for name in group.split(","))
SUPERCATEGORIES: tuple[str, ...] = tuple(
    supercategory for supercategory, group in _GROUPS.items() for _ in group.split(",")
)


def categories() -> Categories:
    """The 80 categories with the ids 0..79 of the challenge, not COCO's own 1..90."""
    return Categories(
        names=NAMES, ids=np.arange(len(NAMES), dtype=np.int64), supercategories=SUPERCATEGORIES
    )
