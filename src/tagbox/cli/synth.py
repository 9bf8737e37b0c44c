"""`tagbox synth`: a generated dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagbox.cli.console import print_json, progress_bar, say
from tagbox.config import SynthConfig


def synth(
    out: Path,
    /,
    scenes: Annotated[SynthConfig, Parameter(name="*", consume_multiple=True)] = SynthConfig(),
    *,
    workers: int | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Generate a dataset of drawn objects with exact boxes.

    14 categories with long-tailed frequencies on cluttered backgrounds, 0 to 8 objects per image, about a third
    of them small and a third partly covered; texture and hue are independent of the category. The same seed
    gives the same bytes, and a larger dataset begins with the images of a smaller one. With `--categories` only
    those are drawn, and the dataset has no others.

    Parameters
    ----------
    out
        Folder to create.
    workers
        Number of processes; the number of cores when not given.
    overwrite
        Replace OUT once the new dataset is complete.
    json
        Print what was written as one JSON object.
    """
    from tagbox.data.synthetic.generate import generate

    total = scenes.images + scenes.val + scenes.test
    with progress_bar("drawing", total) as advance:
        done = generate(
            out,
            scenes,
            workers=os.cpu_count() or 1 if workers is None else workers,
            overwrite=overwrite,
            progress=advance,
        )
    if json:
        print_json(
            {
                "folder": str(done.folder),
                "parts": {part: str(path) for part, path in done.parts.items()},
                "images": done.images,
                "objects": done.objects,
                "small": done.small,
                "covered": done.covered,
            }
        )
        return
    say(
        f"{out}: {done.images} images, {done.objects} objects, {done.small:.0%} small, "
        f"{done.covered:.0%} partly covered"
    )
    for part, path in done.parts.items():
        say(f"  {part}: {path}")
