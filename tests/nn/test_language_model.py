"""A pretrained language model behind a projector: tiny random ones, saved to a folder and read without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_decoders import CONTEXT
from tiny_towers import WORDS, save_bert, save_language_model
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.decoding import Decoding, choice_scores, decode, likelihood
from polymodal.nn.layers.language_model import FIRST, LanguageModel
from polymodal.nn.layers.projector import PerceiverProjector, ShuffleProjector
from polymodal.nn.layers.state import BEGIN, END, PAD, UNKNOWN
from polymodal.nn.trie import Trie

WAYS = {"linear": {}, "shuffle": {"factor": 2}, "perceiver": {"projector": "perceiver", "latents": 5}}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    torch.manual_seed(0)
    return {kind: save_language_model(tmp_path_factory.mktemp(kind), kind) for kind in ("Llama", "GPT2", "Qwen2")}


def built(folder: str, **options) -> LanguageModel:
    return LanguageModel(folder, context_width=CONTEXT, **options).eval()


def example(rows: int = 4, length: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, a context of 4 x 4 tokens with holes, its first ones among them, and its mask; the last row sees nothing."""
    ids = torch.randint(4 + FIRST, FIRST + len(WORDS), (rows, length))
    ids[:, 0] = BEGIN
    mask = torch.rand(rows, 16) < 0.5
    mask[:, 0], mask[:, 10], mask[-1] = False, True, False
    return ids, torch.randn(rows, 16, CONTEXT).masked_fill(~mask[..., None], 0.0), mask


@pytest.mark.parametrize("kind", ["Llama", "GPT2", "Qwen2"])
def test_it_is_the_model_with_the_projected_tokens_before_its_words(folders, kind: str):
    decoder = built(folders[kind])
    ids, context, mask = example()
    found = decoder(ids, context, mask)
    table = decoder.network.get_input_embeddings()
    for row in range(len(ids)):
        prefix, _ = decoder.project(context[row : row + 1, mask[row]], torch.ones(1, int(mask[row].sum()), dtype=bool))
        codes = torch.cat([torch.tensor([2]), ids[row, 1:] - FIRST])
        whole = torch.cat([prefix * decoder.loudness, table(codes)[None]], 1)
        scores = decoder.network(inputs_embeds=whole).logits[0, -len(codes) :]
        kept = [code for code in range(len(WORDS)) if code != 3]
        close = {"atol": 1e-5, "rtol": 1e-4}
        torch.testing.assert_close(found[row][:, [FIRST + code for code in kept]], scores[:, kept], **close)
        torch.testing.assert_close(found[row, :, END], scores[:, 3], **close)
    assert (found[..., [PAD, BEGIN, UNKNOWN, FIRST + 3]] == -100).all()


@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
@every_way
def test_step_by_step_beside_others_and_padded_is_all_at_once(folders, kind: str, way: dict):
    decoder = built(folders[kind], **way)
    ids, context, mask = example()
    whole = decoder(ids, context, mask)
    state, steps = decoder.start(context, mask), []
    for word in ids.unbind(1):
        scores, state = decoder.step(word, state)
        steps.append(scores)
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(torch.stack(steps, 1), whole, **close)
    apart = [decoder(ids[i : i + 1], context[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
    torch.testing.assert_close(torch.cat(apart), whole, **close)
    torch.testing.assert_close(decoder(F.pad(ids, (0, 2)), context, mask)[:, :5], whole, **close)
    if not way:
        torch.testing.assert_close(decoder(ids, F.pad(context, (0, 0, 0, 3)), F.pad(mask, (0, 3))), whole, **close)
    several = decoder(ids.view(2, 2, -1), context[::2], mask[::2])
    torch.testing.assert_close(several[:, 0], whole[::2], **close)


@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
@every_way
def test_a_row_that_sees_nothing_is_the_language_model_alone(folders, kind: str, way: dict):
    decoder = built(folders[kind], **way)
    ids, context, mask = example()
    found = decoder(ids, context, mask)[-1]
    codes = torch.cat([torch.tensor([2]), ids[-1, 1:] - FIRST])
    alone = decoder.network(input_ids=codes[None]).logits[0]
    torch.testing.assert_close(found[:, FIRST + 4 :], alone[:, 4:], atol=1e-5, rtol=1e-4)
    if way:
        return
    torch.testing.assert_close(decoder(ids[-1:], context[-1:, :0], mask[-1:, :0])[0], found, atol=1e-5, rtol=1e-4)


@every_way
def test_decoding_of_every_kind(folders, way: dict):
    decoder = built(folders["Llama"], **way)
    _, context, mask = example(rows=6)
    answers = [decoder.codes(text) for text in ("a red shoe", "blue dog")]
    for how in (Decoding(most=6), Decoding(beams=3, most=6), Decoding(temperature=1.0, most=6)):
        whole = decode(decoder, context, mask, how)
        torch.testing.assert_close(whole.logp, likelihood(decoder, whole.ids, context, mask), atol=1e-4, rtol=1e-3)
        for row in (0, 5):
            alone = decode(decoder, context[row : row + 1], mask[row : row + 1], how, [row]).ids[0]
            assert torch.equal(alone[alone != PAD], whole.ids[row][whole.ids[row] != PAD])
    closed = decode(decoder, context, mask, Decoding(most=6, temperature=9.0, allowed=Trie(answers)))
    assert {decoder.text(row) for row in closed.ids.tolist()} <= {"a red shoe", "blue dog"}
    choices = torch.tensor([[*answers[0], END], [*answers[1], END, PAD]])
    assert choice_scores(decoder, choices, context, mask, "pmi")[-1].abs().max() < 1e-4
    assert decoder.text([BEGIN, *answers[0], END, PAD]) == "a red shoe"


@every_way
def test_attention_to_each_token_of_the_context(folders, way: dict):
    decoder = built(folders["Llama"], **way)
    ids, context, mask = example()
    before = decoder(ids, context, mask)
    weights = decoder.weights(ids, context, mask)
    assert weights.shape == (4, 5, 16)
    assert not weights.masked_select(~mask[:, None].expand_as(weights)).any()
    total = weights.sum(-1)
    assert (total[:-1] > 0).all()
    assert (total < 1).all()
    torch.testing.assert_close(decoder(ids, context, mask), before)
    state = decoder.start(context, mask)
    parts = decoder.project.shares(context, mask)
    torch.testing.assert_close(parts.sum(-1), decoder.project(context, mask)[1].float())
    assert state.seen[0].shape[1] == parts.shape[1]


@pytest.mark.parametrize("tune", ["frozen", "lora", "full"])
def test_which_parameters_move(folders, tune: str):
    decoder = LanguageModel(folders["Llama"], context_width=CONTEXT, tune=tune, rank=2).train()
    assert decoder.network.training == (tune != "frozen")
    ids, context, mask = example()
    texts = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], END)], 1)
    before = {name: value.detach().clone() for name, value in decoder.named_parameters()}
    optimizer = torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # the first step of an adapter moves its upper half alone
        optimizer.zero_grad()
        loss = decoder.losses(texts, context, mask, smoothing=0.1).mean()
        assert loss < 20
        loss.backward()
        optimizer.step()
    moved = {name for name, value in decoder.named_parameters() if not torch.equal(value, before[name])}
    own = {name for name in before if not name.startswith("network.")}
    assert own == {"project.norm.weight", "project.norm.bias", "project.map.weight", "project.map.bias"}
    maps = [f"network.model.layers.{layer}.self_attn.{part}_proj" for layer in (0, 1) for part in "qv"]
    asked = {f"{name}.{half}" for name in maps for half in ("up", "down")}
    assert moved == {"frozen": own, "lora": own | asked, "full": set(before)}[tune]


@pytest.mark.parametrize("tune", ["frozen", "lora", "full"])
def test_its_state_is_what_learns_and_fits_its_own_model_alone(folders, tmp_path: Path, tune: str):
    from safetensors.torch import load_file, save_file

    first, second = (built(folders["Llama"], tune=tune) for _ in range(2))
    for value in first.parameters():
        if value.requires_grad:
            torch.nn.init.normal_(value)
    save_file(first.state_dict(), tmp_path / "state.safetensors")
    held = load_file(tmp_path / "state.safetensors")
    assert set(held) == {name for name, value in first.named_parameters() if value.requires_grad} | {"total"}
    second.load_state_dict(held)
    ids, context, mask = example()
    torch.testing.assert_close(second(ids, context, mask), first(ids, context, mask), atol=0, rtol=0)
    if tune != "full":
        (tmp_path / "other").mkdir()
        torch.manual_seed(9)
        other = built(save_language_model(tmp_path / "other"), tune=tune)
        with pytest.raises(BadArgument, match="is not the one that this was trained with"):
            other.load_state_dict(held)


def test_a_pixel_shuffle_puts_neighbours_together():
    project = ShuffleProjector(1, 4, factor=2)
    context, mask = torch.arange(16.0).view(1, 16, 1), torch.ones(1, 16, dtype=torch.bool)
    gathered = project._gathered(context)[0, :, :, 0].tolist()
    assert gathered == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    mask[0, [0, 1, 4, 5, 2]] = False
    assert project(context, mask)[1].tolist() == [[False, True, True, True]]
    shares = project.shares(context, mask)[0]
    assert shares[0].sum() == 0
    assert shares[1].nonzero()[:, 0].tolist() == [3, 6, 7]
    with pytest.raises(BadArgument, match="square grid of tokens whose side 2 divides; got 9 tokens"):
        project(torch.zeros(1, 9, 1), torch.ones(1, 9, dtype=torch.bool))


def test_the_perceiver_reads_real_tokens_alone():
    project = PerceiverProjector(CONTEXT, 8, latents=3).eval()
    _, context, mask = example()
    found, real = project(context, mask)
    assert real.tolist() == [[True] * 3] * 3 + [[False] * 3]
    torch.testing.assert_close(project(torch.where(mask[..., None], context, 5.0), mask)[0], found)
    moved = context.clone()
    moved[0, 10] = torch.randn(CONTEXT)  # which is real
    assert not torch.allclose(project(moved, mask)[0][0], found[0])


def test_what_cannot_be_is_refused(folders, tmp_path: Path):
    with pytest.raises(BadArgument, match="Unknown tune 'lorra'.*Did you mean 'lora'"):
        built(folders["Llama"], tune="lorra")
    with pytest.raises(BadArgument, match="Unknown projector 'perceive'.*Did you mean 'perceiver'"):
        built(folders["Llama"], projector="perceive")
    with pytest.raises(BadArgument, match="cannot load 'no-such/model'.*Where the hub cannot be reached"):
        built("no-such/model")
    with pytest.raises(BadArgument, match="folder '/no/model' is not there"):
        built("/no/model")
    with pytest.raises(BadArgument, match="no token that ends a text: set its eos_token"):
        built(save_language_model(tmp_path, end=None))
    with pytest.raises(BadArgument, match="GPT2LMHeadModel has no linear layer that LoRA was asked to adapt"):
        built(folders["GPT2"], tune="lora")
    short = built(folders["Llama"], longest=3)
    with pytest.raises(BadArgument, match="reads at most 3 ids"):
        short(*example())
    with pytest.raises(BadArgument, match="reads at most 64 places; the context and the words take 72"):
        decode(built(folders["Llama"]), torch.zeros(1, 72, CONTEXT), torch.ones(1, 72, dtype=torch.bool))
    (tmp_path / "bert").mkdir()
    with pytest.raises(BadArgument, match="lack|cannot load|no token that ends"):
        built(save_bert(tmp_path / "bert"))
