"""`synth`: a generated dataset, to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from tagbox.config import SynthConfig, SynthSettings, with_settings
from tagbox.config.arguments import checked_arguments
from tagbox.data.synthetic.generate import Generated, generate
from tagbox.progress import Progress, default_progress


@checked_arguments
def synth(
    out: Path | str,
    config: SynthConfig | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Unpack[SynthSettings],
) -> Generated:
    """Generate a dataset of drawn objects with exact boxes in the folder `out`, whole or not at all.

    The same seed gives the same bytes.

    Parameters
    ----------
    out
        Folder to make; refused when it exists and is not empty, unless `overwrite`.
    config
        How many images, their size, the categories, the seed and the format.
    workers
        Processes. With more than one a script needs the ``if __name__ == "__main__"`` guard that `multiprocessing` asks
        for.
    progress
        Receives messages and progress bars; when not given, bars in a notebook and nothing elsewhere.
    **settings
        Fields of `SynthConfig`, in place of those of `config`: ``images=200, val=50``.

    Returns
    -------
    Generated
        ``folder``, and ``parts``: the annotation file of each part, such as ``train``.

    Raises
    ------
    TagboxError
        ``exists``, ``cannot-write``, ``unknown-category``; ``config-field`` and ``config-value`` for settings.
    """
    own = ("workers", "overwrite", "progress")
    config = with_settings(config or SynthConfig(), settings, own)
    total = config.images + config.val + config.test
    with (progress or default_progress()).bar("drawing", total, "images") as advance:
        return generate(Path(out), config, workers=workers, overwrite=overwrite, progress=advance)
