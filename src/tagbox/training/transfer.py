"""COCO transfer: which classifiers use a detector that was trained on COCO, and what that forbids."""

from __future__ import annotations

import os

from tagbox.config import ClassifierConfig
from tagbox.config.detector import NANODET
from tagbox.errors import TagboxError
from tagbox.models.backbones import parse_backbones


def transfer_of(config: ClassifierConfig) -> str | None:
    """``COCO transfer (…)`` where a backbone, or the run that is the teacher, was trained on COCO; else None.

    A teacher that is a file of predictions does not say what it was trained on.

    Raises
    ------
    TagboxError
        The codes of `inference.load.load_classifier` for the teacher.
    """
    if any(request.name == NANODET for request in parse_backbones(config.backbone)):
        from tagbox.models.detectors.scores import TRANSFER

        return TRANSFER
    if config.teacher is not None and os.path.isdir(config.teacher):
        from tagbox.inference.load import load_classifier

        return load_classifier(config.teacher).transfer
    return None


def transfer_note(transfer: str) -> str:
    """What a reader of figures must know of it, in a sentence."""
    return (
        f"{transfer}: compare these figures only with those of models that used COCO too; on pictures of COCO's train2017 "
        "they are too good, because the detector was trained on them"
    )


def refuse_transfer(config: ClassifierConfig) -> None:
    """Refuse a training for the MS COCO classification challenge, which forbids other data of COCO.

    Raises
    ------
    TagboxError
        ``challenge-transfer``; those of `transfer_of`.
    """
    transfer = transfer_of(config)
    if transfer is None:
        return
    named = any(request.name == NANODET for request in parse_backbones(config.backbone))
    raise TagboxError(
        "challenge-transfer",
        f"the challenge forbids other data of COCO, and this would be {transfer}",
        where="backbone" if named else "teacher",
        hint=f"leave {NANODET} out of --backbone" if named else "leave --teacher out",
    )
