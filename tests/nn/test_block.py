"""Transformer blocks and their dropout."""

import torch

from polymodal.nn.layers.block import TokenDropout, TransformerBlock


def test_the_block_is_the_written_formula():
    block = TransformerBlock(8, 2, expansion=3).eval()
    x, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True, True, False, False, True]])
    y = x + block.attention(block.norm(x), mask)
    torch.testing.assert_close(block(x, mask), y + block.feed(block.feed_norm(y)))
    assert block.feed[0].out_features == 24


def test_a_context_is_normalised_as_the_queries_are():
    block = TransformerBlock(8, 2).eval()
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(block(x[:, :1], None, x), block(x)[:, :1])


def test_masked_tokens_change_nothing_for_the_others():
    block = TransformerBlock(8, 2).eval()
    x, mask = torch.randn(1, 4, 8), torch.tensor([[True, True, False, True]])
    changed = torch.where(mask[..., None], x, 7.0)
    torch.testing.assert_close(block(x, mask)[mask], block(changed, mask)[mask])


def test_token_dropout_hides_whole_channels_and_keeps_the_mean():
    drop = TokenDropout(0.25)
    x = torch.ones(500, 3, 40)
    out = drop.train()(x)
    assert ((out == 0).all(1) | (out > 1).all(1)).all()  # a channel is hidden in all tokens or in none
    assert abs(float(out.mean()) - 1) < 0.03
    assert torch.equal(drop.eval()(x), x)
