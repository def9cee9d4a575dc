"""A diagnosis in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymodal.aligners.probe import Recall

if TYPE_CHECKING:
    from polymodal.aligners.doctor import Diagnosis, Pairing, Stage

HEADLINES = {
    "go": "Go: these streams can be aligned.",
    "doubtful": "Doubtful: something connects these streams, but little.",
    "no-go": "No go: as they are, these streams cannot be aligned.",
}


def told(diagnosis: Diagnosis) -> str:
    """The whole diagnosis: verdict, reasons, advice, figures before and after."""
    lines = [HEADLINES[diagnosis.verdict], *(f"  - {reason}" for reason in diagnosis.reasons)]
    if diagnosis.advice:
        lines += ["What to do:", *(f"  - {word}" for word in diagnosis.advice)]
    lines += ["Before training:", *_stage(diagnosis.before)]
    if diagnosis.after is not None:
        lines += ["After training:", *_stage(diagnosis.after)]
    return "\n".join(lines)


def _stage(stage: Stage) -> list[str]:
    lines = []
    for name, s in stage.streams.items():
        lines.append(
            f"  {name}: {s.items:,} items ({s.in_several_rows:,} in several rows, {s.near_duplicates:,} with a near "
            f"twin), effective rank {s.effective_rank:.1f} of {s.width}"
        )
        if s.neighbours is not None:
            lines.append(
                f"    nearest neighbour of the same kind: {s.neighbours:.1%} (chance {s.neighbours_chance:.1%})"
            )
    for pairing in stage.pairings:
        lines += _pairing(pairing)
    return lines


def _pairing(pairing: Pairing) -> list[str]:
    a, b = pairing.streams
    lines = [
        f"  {a} ~ {b}: {pairing.pairs:,} pairs, {pairing.matched:,} one to one; {pairing.several_partners[0]:,} of {a} "
        f"and {pairing.several_partners[1]:,} of {b} have several partners"
    ]
    if (m := pairing.mutual) is not None:
        lines.append(
            f"    mutual {m.k}-NN {m.share:.3f} (by chance {m.null:.3f}, 95 % below {m.null_high:.3f}, p = {m.p:.3f}; "
            f"{m.items:,} items, {m.permutations} permutations)"
        )
    if (probe := pairing.probe) is not None:
        source = f"linear map, {probe.folds} folds of {probe.pairs:,} pairs"
        lines += [_recalls(f"{a} finds {b}", probe.forward, source), _recalls(f"{b} finds {a}", probe.backward, source)]
    for ways, source in ((pairing.recall, "shared space"), (pairing.linear, "linear map, the same pairs")):
        if ways is not None:
            lines += [_recalls(f"{x} finds {y}", way, source) for (x, y), way in zip(((a, b), (b, a)), ways)]
    if (g := pairing.gap) is not None:
        lines.append(
            f"    gap {g.total:.3f} = centroid {g.centroid:.3f} + spread {g.spread:.3f} (in one cloud {g.null:.3f}); "
            f"cosine of partners {g.matched:.2f}, of others {g.unmatched:.2f}"
        )
    return lines


def _recalls(what: str, way: tuple[Recall, ...], source: str) -> str:
    each = ", ".join(f"@{r.k} {r.mean:.1%} ({r.low:.1%} to {r.high:.1%}, chance {r.chance:.1%})" for r in way)
    return f"    {what} among {way[0].gallery}: recall {each} [{source}]"
