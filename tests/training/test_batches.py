"""Batches of cached feature maps."""

from __future__ import annotations

import numpy as np

from tagbox.training.classification_task import FeatureBatches


def test_batches_of_maps_keep_their_shape() -> None:
    maps = np.arange(5 * 2 * 3 * 2 * 4, dtype=np.float32).reshape(5, 2, 3, 2, 4)
    batches = FeatureBatches(maps, np.zeros((5, 1), np.int8), batch_size=4, shuffle=False)
    found = [part.inputs.numpy() for (part,) in batches.epoch(0)]
    assert [x.shape for x in found] == [(4, 3, 2, 4), (1, 3, 2, 4)]
    assert np.array_equal(np.concatenate(found), maps[:, 0])
