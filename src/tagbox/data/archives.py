"""The official COCO archives: where they lie, how long they are, and their SHA-256.

The digests are those that several public projects have published for these files, all in agreement;
COCO itself publishes none.
"""

from __future__ import annotations

from dataclasses import dataclass

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
