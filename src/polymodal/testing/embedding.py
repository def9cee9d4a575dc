"""Does an embedding of a knowledge graph keep its contract?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from polymodal.aligners import EMBEDDINGS
from polymodal.aligners.embedding import Embedding, link_prediction, train_embedding
from polymodal.core.registry import Spec
from polymodal.testing import laws
from polymodal.testing.devices import one_device
from polymodal.testing.subject import Subject, Violation, built, judge

ENTITIES, RELATIONS = 12, 2


def check_embedding(spec: Spec) -> None:
    """Try an embedding: a name, a dict with `name`, a class or a dotted path. Raises `NotConformant`.

    Distances are finite, broadcast, and do not depend on the triples beside them; vectors are one an entity, of length
    one; parameters get gradients; the same seed gives the same; a state is saved and loaded; it learns a tree.
    """
    cls, given = EMBEDDINGS.resolve(spec)
    subject, learning = embedding_subjects(spec)
    judge(
        subject.label,
        [
            partial(laws.finite, subject),
            partial(laws.options_stored, subject, EMBEDDINGS, given),
            *(partial(law, subject) for law in (laws.row_alone, laws.inputs_untouched, laws.saved_and_loaded)),
            partial(laws.same_seed, subject),
            partial(laws.gradient, learning),
            partial(laws.not_overridden, cls, Embedding),
            partial(_vectors, subject),
            partial(_learns, subject.build),
            *(partial(one_device, each) for each in (subject, learning)),
        ],
    )


def embedding_subjects(spec: Spec) -> tuple[Subject, Subject]:
    """An embedding on the triples of a tree, and with what it is trained by as its outcome."""
    label = f"The embedding {EMBEDDINGS.name_of(EMBEDDINGS.resolve(spec)[0])}"
    build = partial(EMBEDDINGS.build, spec, ENTITIES, RELATIONS)
    return Subject(label, build, _run, _triples(), "distance"), Subject(label, build, _losses, _triples(), "loss")


def _triples() -> Tensor:
    """A tree: nine leaves of three kinds, each of which belongs to a parent, and every parent has a favourite leaf."""
    leaves, parents = torch.arange(9), torch.arange(3)
    belongs = torch.stack([leaves, torch.zeros_like(leaves), 9 + leaves // 3], 1)
    favours = torch.stack([9 + parents, torch.ones_like(parents), 3 * parents], 1)
    return torch.cat([belongs, favours])


def _run(part: Embedding, triples: Tensor) -> dict[str, Tensor]:
    return {"distance": part.distance(*triples.T)}


def _losses(part: Embedding, triples: Tensor) -> dict[str, Tensor]:
    head, relation, tail = (column[:, None] for column in triples.T)
    wrong = part.distance(head, relation, (tail + torch.arange(1, 5, device=tail.device)) % ENTITIES)
    return {"loss": part.loss(part.distance(head, relation, tail)[:, 0], wrong)[None]}


def _vectors(subject: Subject) -> None:
    vectors = built(subject).vectors()
    if len(vectors) != ENTITIES or vectors.requires_grad:
        raise Violation("vectors", f"it gave {tuple(vectors.shape)}.", f"Return [{ENTITIES}, D], detached.")
    if not torch.allclose(vectors.norm(dim=1), torch.ones(ENTITIES), atol=1e-4):
        raise Violation("vectors", "they are not of length one.", "Divide by the norm: nn.unit.unit.")


def _learns(build: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model = build()
    before = link_prediction(model, _triples(), _triples())["mrr"]
    losses = train_embedding(model, _triples(), epochs=100, lr=0.05)
    after = link_prediction(model, _triples(), _triples())["mrr"]
    if not (losses[-1] < losses[0] and after > max(before, 0.6)):
        raise Violation(
            "learns a tree", f"the rank of true triples went from {before:.2f} to {after:.2f} (mean reciprocal).",
            "Look at the sign of the loss: true triples must come nearer, false ones go away.",
        )  # fmt: skip
