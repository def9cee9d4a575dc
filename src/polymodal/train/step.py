"""One training of an answer with its objectives: the loss of a batch, and what happens around the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.models.base import Answer, Model
from polymodal.nn.place import to_device
from polymodal.objectives.base import Objective, Step
from polymodal.train.loop import total

Streams = Callable[[Tensor], Mapping[str, Tokens]]  # encoded tokens of rows, before towers


class TrainingStep(nn.Module):
    """What is trained: an answer, or encoders and an answer, and the objectives' own parameters.

    `loss(streams, targets)` is the loss of a batch; `after_backward`, `after_step` and `between_epochs` are the loop's
    hooks. Objectives measure rows by `read`, which encodes them, and `labels`. Without objectives there is the answer's
    own loss, and nothing else happens.
    """

    epoch: Tensor

    def __init__(
        self,
        model: Answer | Model,
        objectives: Sequence[Objective],
        read: Streams,
        labels: Mapping[str, Tensor],
        *,
        epochs: int = 1,
    ):
        super().__init__()
        self.read, self.labels = read, labels
        self.model = model
        self.objectives = nn.ModuleList(objectives)
        self.guided = bool(objectives)
        self.epochs = epochs
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))  # done; kept, so that resuming goes on
        self._progress = 0.0  # the share of the epochs that are done: `epoch`, without asking the device for it
        self.register_load_state_dict_post_hook(TrainingStep._resumed)
        self._step: Step | None = None

    def _resumed(self, _: object) -> None:
        self._progress = int(self.epoch) / self.epochs

    @property
    def answer(self) -> Answer:
        """The answer, with or without encoders before it."""
        return self.model.answer if isinstance(self.model, Model) else self.model

    def towers(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that belong to one stream: its adapter, and in fine-tuning its encoder."""
        towers = self.answer.towers()
        if isinstance(self.model, Model):
            for name, encoder in self.model.encoders.items():
                towers[name] = [*encoder.parameters(), *towers.get(name, ())]
        return towers

    def rows(self, rows: Tensor) -> Tensor:
        """The training rows that no objective keeps for itself."""
        for objective in self.objectives:
            rows = objective.hold(rows)  # type: ignore[operator]
        return rows

    def loss(self, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> Tensor:
        """The sum of all losses of a batch of encoded streams."""
        answer = self.answer
        if not self.guided:
            return total(answer.losses(answer(streams), targets))
        for objective in self.objectives:
            streams = objective.mask_streams(dict(streams))  # type: ignore[operator]
        self._step = self._taken(answer, streams, targets)
        return total(self._step.losses)

    def _taken(self, answer: Answer, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> Step:
        prepared = answer.prepare(streams)
        output = answer.join(prepared)
        losses = answer.losses(output, targets)
        step = Step(answer, prepared, output, targets, losses, self.towers(), self._progress)
        for objective in self.objectives:
            losses.update(objective(step))  # each sees the losses of those before it
        return step

    def after_backward(self) -> None:
        """Let every objective change the towers' gradients."""
        if self._step is not None:
            for objective in self.objectives:
                objective.act(self._step)  # type: ignore[operator]
        self._step = None  # so that its graph is freed

    def after_step(self) -> None:
        """Let every objective change what the optimiser did to the towers."""
        for objective in self.objectives:
            objective.after_step()  # type: ignore[operator]

    @torch.no_grad()
    def between_epochs(self, done: int) -> None:
        """Let every objective measure; `done` epochs are over."""
        self.epoch.fill_(done)
        self._progress = done / self.epochs
        self.eval()

        def read(rows: Tensor) -> Step:
            prepared = self.answer.prepare(self.read(rows))
            targets = to_device({name: values[rows] for name, values in self.labels.items()}, self.epoch.device)
            output = self.answer.join(prepared)
            return Step(self.answer, prepared, output, targets, self.answer.losses(output, targets), {})

        for objective in self.objectives:
            objective.between_epochs(done, read)  # type: ignore[operator]
