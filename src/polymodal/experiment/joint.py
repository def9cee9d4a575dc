"""When encoders should be trained together with the answer: what validation rows say of those trained apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.experiment.outcome import Outcome, Question, chance, score_of
from polymodal.experiment.verdict import COARSE, Tests, scale_of
from polymodal.report.wording import decimals, plain

SHARE = 0.25  # of what the best fusion knows beyond chance: if no stream tells so much, they tell it together


def called_for(outcomes: Sequence[Outcome], questions: Sequence[Question], seed: int) -> str:
    """Why encoders and answer should be trained together, in words; empty where nothing calls for it.

    An encoder learns alone what its stream tells alone. Where every single modality is shown to be about as good as
    chance, or the best fusion knows much that no modality tells and no blend of their answers does, there is more to
    learn together. Judged by the first target's validation rows, which say neither where they are few.
    """
    q = questions[0]
    test, guess = Tests(q, seed, "valid"), chance([q], 1)
    apart = [o for o in outcomes if not o.strategy.end_to_end]
    alone = [o for o in apart if o.level == "single"]
    fusions = [o for o in apart if o.strategy.joint]
    if not fusions:
        return ""
    near = COARSE * scale_of(q.metric, q.on_valid(guess.valid[q.target.name][0]))
    if all(pair.low <= 0 and pair.high < near for pair in (test(o, guess) for o in alone)):
        return f"No single modality beats chance ({q.metric.name} of {q.held} rows)."
    best, single = (max(some, key=lambda o: score_of(o, [q])) for some in (fusions, alone))
    gains = [test(best, o) for o in apart if o.strategy.family in ("single", "decision")]
    known = test(best, guess).difference
    if min(gain.low for gain in gains) > 0 and min(gain.difference for gain in gains) > SHARE * known:
        values = [float(np.mean([q.on_valid(p) for p in o.valid[q.target.name]])) for o in (best, single)]
        said = [plain(value, decimals(values)) for value in values]
        return (
            f"Much lies in what modalities tell together and none alone: {q.metric.name} {said[0]} ({best.name}) "
            f"against {said[1]} ({single.name}) on {q.held} rows."
        )
    return ""
