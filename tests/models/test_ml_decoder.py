"""ML-Decoder against torch's own decoder layer, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads_data import (
    gradients_after_two_steps,
    hidden_object,
    loss_of_training,
    maps,
    state,
    stir,
    unscaled,
)
from torch import nn

from tagbox.models.heads import FeatureScale, create_head, head_logits
from tagbox.models.heads.ml_decoder import DecoderLayer, grouped


def layer(width: int = 16, seed: int = 3) -> DecoderLayer:
    """A layer with random weights, in eval mode."""
    made = DecoderLayer(width, dropout=0.1)
    stir(made, seed)
    return made


def attention_of(ours: DecoderLayer, theirs: nn.MultiheadAttention) -> None:
    """Copy our weights into torch's attention; its bias of the keys, which ours lacks, is drawn."""
    parts = [ours.query, ours.key, ours.value]
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    drawn = torch.randn(16, generator=torch.Generator().manual_seed(1))
    theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, drawn, ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.joined.state_dict())


def test_attention_is_torchs() -> None:
    ours = layer()
    theirs = nn.MultiheadAttention(16, 8, batch_first=True).eval()
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(5, 16, generator=generator)
    memory = torch.randn(3, 7, 16, generator=generator)
    with torch.no_grad():
        attention_of(ours, theirs)
        expected = theirs(queries.expand(3, -1, -1), memory, memory, need_weights=False)[0]
        found = ours.attend(queries, memory)
    assert found.shape == (3, 5, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_layer_is_torchs_without_self_attention() -> None:
    ours = layer()
    theirs = nn.TransformerDecoderLayer(16, 8, 2048, batch_first=True).eval()
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(5, 16, generator=generator)
    memory = torch.randn(3, 7, 16, generator=generator)
    with torch.no_grad():
        # Its self-attention adds nothing, which leaves the first normalisation.
        theirs.self_attn.out_proj.weight.zero_()
        theirs.self_attn.out_proj.bias.zero_()
        attention_of(ours, theirs.multihead_attn)
        for name, part in (("linear1", ours.widen), ("linear2", ours.narrow)):
            theirs.get_submodule(name).load_state_dict(part.state_dict())
        for name in ("norm1", "norm2", "norm3"):
            theirs.get_submodule(name).load_state_dict(ours.get_submodule(name).state_dict())
        expected = theirs(queries.expand(3, -1, -1), memory)
        np.testing.assert_allclose(ours(queries, memory), expected, rtol=1e-4, atol=1e-5)


def test_by_hand() -> None:
    # One channel at two positions with 0 and ln 3 = 1.09861229; one category, one query of width 8, so
    # that each of the 8 attention heads has width 1.
    x = np.array([[[[0.0, np.log(3)]]]], np.float32)
    head = create_head("ml_decoder", unscaled(1), np.array([0.5]), hidden=8).eval()
    eye = torch.eye(8)
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
        for name in ("embed", "decoder.query", "decoder.value", "decoder.joined", "output"):
            head.get_submodule(name).bias.zero_()
        for name in ("decoder.widen", "decoder.narrow"):
            head.get_submodule(name).bias.zero_()
        head.embed.weight.fill_(1)
        head.decoder.query.weight.copy_(eye)
        head.decoder.key.weight.copy_(eye)
        head.decoder.value.weight[0, 0] = head.decoder.value.weight[1, 1] = 1
        head.decoder.joined.weight.copy_(eye)
        head.decoder.widen.weight[5, 0] = 1
        head.decoder.narrow.weight[2, 5] = 2
        head.queries.copy_(torch.tensor([[1.0, -1, 1, -1, 1, -1, 1, -1]]))
        head.output.weight[0, 2] = 2
        head.output.bias.fill_(-1)
    # The query has mean 0 and deviation 1: normalising leaves it. Memory is (0, ln 3) in every dimension.
    # Dimensions with query 1: softmax(0, ln 3) = (1/4, 3/4), attended 3/4 ln 3 = 0.82395922;
    # with query -1: softmax(0, -ln 3) = (3/4, 1/4), attended 1/4 ln 3 = 0.27465307.
    # Values are kept in dimensions 0 and 1 only: 1.82395922, -0.72534693, then 1, -1, 1, -1, 1, -1.
    # Mean ln 3 / 8 = 0.13732654; mean square (3.32682723 + 0.52612817 + 6) / 8 = 1.23161943;
    # deviation sqrt(1.23161943 - 0.01885858) = 1.10125422. Normalised: 1.53155616, -0.78335395,
    # then 0.78335596 and -1.03275617 in turn (three of each).
    # Feed-forward: dimension 2 becomes 0.78335596 + 2 * 1.53155616 = 3.84646828.
    # Mean 2 * 1.53155616 / 8 = 0.38288904; mean square 1 + (3.84646828^2 - 0.78335596^2) / 8 = 2.77270807;
    # deviation sqrt(2.77270807 - 0.14660402) = 1.62052586.
    # Dimension 2: (3.84646828 - 0.38288904) / 1.62052586 = 2.13731816; 2 * 2.13731816 - 1
    with torch.no_grad():
        found = head(torch.from_numpy(x)).numpy()
    # The 1e-5 in each variance is worth 1e-5.
    np.testing.assert_allclose(found, [[3.27463632]], rtol=3e-5)
    np.testing.assert_allclose(head_logits(state(head), x), found, rtol=1e-6)


def test_groups_by_hand() -> None:
    # Five categories, two queries: 0, 1, 2 are the first one's, 3 and 4 the second's.
    answers = torch.tensor([[[1.0, 0.0], [0.0, 10.0]]])
    weight = torch.tensor([[1.0, 9], [2, 9], [3, 9], [9, 4], [9, 5]])
    np.testing.assert_allclose(grouped(answers, weight), [[1, 2, 3, 40, 50]])


@pytest.mark.parametrize(
    ("categories", "asked", "made"),
    [
        (3, None, 3),
        (100, None, 100),
        # 250 / 100 is 3 categories a query, which 84 queries have.
        (250, None, 84),
        (5, 2, 2),
        (7, 3, 3),
        # 9 / 4 is 3 categories a query, so that the fourth would have none.
        (9, 4, 3),
        (4, 50, 4),
        (4, 1, 1),
    ],
)
def test_number_of_queries(categories: int, asked: int | None, made: int) -> None:
    rates = np.linspace(0.1, 0.9, categories)
    head = create_head("ml_decoder", unscaled(5), rates, hidden=8, queries=asked)
    assert head.queries.shape == (made, 8)
    stir(head)
    x = maps(rows=2)
    with torch.no_grad():
        expected = head(torch.from_numpy(x)).numpy()
    assert expected.shape == (2, categories)
    found = head_logits(state(head), x)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_categories_of_one_query_differ_by_their_weights_alone() -> None:
    head = stir(create_head("ml_decoder", unscaled(5), np.full(6, 0.3), hidden=8, queries=2))
    with torch.no_grad():
        head.output.weight[1].copy_(head.output.weight[0])
        head.output.weight[3].copy_(head.output.weight[0])
        head.output.bias.zero_()
        logits = head(torch.from_numpy(maps())).numpy()
    np.testing.assert_allclose(logits[:, 0], logits[:, 1])
    assert np.abs(logits[:, 0] - logits[:, 3]).min() > 1e-3


def test_queries_are_fixed_and_saved() -> None:
    head = create_head("ml_decoder", unscaled(5), np.full(6, 0.3), hidden=8, seed=4)
    assert "queries" in head.state_dict()
    assert "queries" not in dict(head.named_parameters())
    assert abs(float(head.queries.std()) - 1) < 0.3


def test_positions_have_no_order() -> None:
    x = maps()
    order = np.random.default_rng(0).permutation(12)
    shuffled = x.reshape(6, 5, 12)[:, :, order].reshape(6, 5, 4, 3)
    head = stir(create_head("ml_decoder", FeatureScale.of(x[:, None]), np.full(3, 0.3), hidden=16))
    with torch.no_grad():
        expected, found = (head(torch.from_numpy(m.copy())).numpy() for m in (x, shuffled))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("queries", [None, 2])
def test_gradients_reach_every_weight(queries: int | None) -> None:
    x = maps()
    head = create_head(
        "ml_decoder", FeatureScale.of(x[:, None]), np.full(5, 0.3), hidden=16, queries=queries
    )
    found = gradients_after_two_steps(head, x)
    assert len(found) == 21
    assert min(found.values()) > 1e-7, min(found, key=lambda name: found[name])


def test_dropout_acts_in_training_only() -> None:
    x = torch.from_numpy(maps())
    head = stir(create_head("ml_decoder", unscaled(5), np.full(3, 0.3), hidden=16, dropout=0.3))
    with torch.no_grad():
        assert torch.equal(head(x), head(x))
        head.train()
        assert not torch.equal(head(x), head(x))


def test_it_finds_what_the_mean_hides() -> None:
    x, present = hidden_object()
    scale, rates = FeatureScale.of(x[:, None]), np.array([0.5])
    head = create_head("ml_decoder", scale, rates, hidden=32)
    assert loss_of_training(head, x, present, 0.003) < 0.05
