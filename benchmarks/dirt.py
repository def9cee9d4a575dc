"""Known faults planted in clean real rows: what each op finds, what it wrongly takes, and what training gains.

    python benchmarks/dirt.py [--rows 400] [--share 0.1] [--out runs/dirt] [--train] [--space RUN] [--prompts FOLDER]
        [--json]

From photos with captions (flickr), spoken digits (avdigits) and numbers (houses), each in POLYMODAL_DATA or named by
`--flickr`, `--avdigits`, `--houses`. A fault is planted in a share of the rows, one kind at a time; a fault counts as
found when the op sets its row aside or changes it, and every other row that it touches counts against its precision
(95 % Wilson intervals). The real rows are taken as clean, which they are not wholly: a true fault of theirs counts
against precision too. dB: signal to noise before and after, against the clean original. `--train` fits on original,
dirty and cleaned digits (`dirty_digits.py`). `--space` names a finished `polymodal align` of columns image and
caption_0 of flickr's training rows, for pairs mixed up among its test rows. `--prompts` names clean speech (see
`noise.py`) for noise reduction, which is left out without it: the digits are noisy themselves.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dirty_digits import trained
from noise import KINDS, planted, prompts
from PIL import Image, ImageFilter
from realdata import folder_of
from tools import parser, show

from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.ops.rows import Row, Rows
from polymodal.preparation.recipe import Recipe
from polymodal.preparation.run import prepare

Planter = Callable[[Any, np.random.Generator], Any]
GERMAN = "Der Mann geht mit seinem Hund am Fluss entlang und sieht den Kindern beim Spielen zu"
NAMES = "Call +1 415 555 2671 or write to jane.doe@example.com"


@dataclass(frozen=True)
class Trial:
    """An op against one kind of fault in one kind of cell. A planter of None repeats an earlier row's cell."""

    op: Any
    fault: str
    kind: str
    plant: Planter | None
    twin: Planter | None = None  # what happens to the repeated cell
    source: str = ""  # which real cells, where there are several sources of the kind


def misspelt(text: str, rng: np.random.Generator) -> str:
    """One word of five letters or more with two neighbours swapped."""
    places = list(re.finditer(r"[a-z]{5,}", text))
    if not places:
        return text
    word = places[int(rng.integers(len(places)))]
    at = word.start() + int(rng.integers(1, len(word[0]) - 2))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def replaced(words: int) -> Planter:
    """A text with so many words replaced."""

    def change(text: str, rng: np.random.Generator) -> str:
        found = text.split()
        for at in rng.permutation(len(found))[:words]:
            found[at] = "".join(rng.choice(list("aeiourstlnmd"), 6))
        return " ".join(found)

    return change


def keyboard(text: str, rng: np.random.Generator) -> str:
    return " ".join("".join(rng.choice(list("qwrtzpsdfghjklxcvbnm"), rng.integers(3, 9))) for _ in range(9))


def grainy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    values = np.asarray(picture.convert("RGB"), np.float32)
    return Image.fromarray(np.clip(values + rng.normal(0, 20, values.shape), 0, 255).astype(np.uint8))


def clipped(sound: Sound, rng: np.random.Generator) -> Sound:
    top = 0.3 * float(np.abs(sound.samples).max())
    return Sound(np.clip(sound.samples, -top, top), sound.rate)


def compressed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    out = io.BytesIO()
    small = picture.convert("RGB").resize((picture.width * 3 // 4, picture.height * 3 // 4))
    small.save(out, "JPEG", quality=60)
    return Image.open(io.BytesIO(out.getvalue()))


def turned(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    exif = picture.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    picture.convert("RGB").rotate(90, expand=True).save(out, "JPEG", quality=95, exif=exif)
    return Image.open(io.BytesIO(out.getvalue()))


def gapped(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    made = series.copy()
    at = int(rng.integers(0, len(made) - 12))
    made[at : at + 8] = np.nan
    return made


TRIALS = (
    Trial("spelling", "two letters swapped", "text", misspelt),
    Trial("unicode", "decoded wrongly", "text", lambda t, r: f"{t} – a “café”".encode().decode("cp1252", "replace")),
    Trial("markup", "tags and entities", "text", lambda t, r: f"<p>{t}</p><br/> &amp; more"),
    Trial("language", "another language", "text", lambda t, r: GERMAN),
    Trial("unlikely", "keyboard noise", "text", keyboard),
    Trial("personal", "a mail and a phone", "text", lambda t, r: f"{t} {NAMES}"),
    *(Trial("near_duplicates", f"copy, {n} words changed", "text", None, replaced(n)) for n in (0, 1, 2, 4)),
    *(
        Trial(
            {"name": "near_duplicates", "words": 1}, f"copy, {n} words changed, one allowed", "text", None, replaced(n)
        )
        for n in (1, 2)
    ),
    Trial("blurred", "Gaussian blur, 4 pixels", "image", lambda p, r: p.filter(ImageFilter.GaussianBlur(4))),
    Trial("uniform", "one colour", "image", lambda p, r: Image.new("RGB", p.size, (90, 90, 90))),
    Trial("upright", "turned, said in EXIF", "image", turned),
    Trial("denoise", "grain, spread 20", "image", grainy),
    Trial("near_pictures", "smaller, compressed copy", "image", None, compressed),
    Trial("clipped", "cut off at 0.3 of the top", "audio", clipped),
    Trial("silent", "silence", "audio", lambda s, r: Sound(0 * s.samples, s.rate)),
    Trial("same_sound", "copy at half the level", "audio", None, lambda s, r: Sound(s.samples / 2, s.rate)),
    Trial(
        {"name": "units", "columns": "cell", "unit": "m"}, "in feet", "number", lambda v, r: f"{float(v) / 0.3048} ft"
    ),
    Trial("outliers", "100 times too large", "number", lambda v, r: float(v) * 100),
    Trial("categories", "another spelling", "category", lambda v, r: v.upper() + " "),
    Trial("gaps", "8 samples missing", "series", gapped),
)


def noise_trials(speech: Sequence[Sound]) -> tuple[Trial, ...]:
    """Noise reduction against each kind of noise at several levels."""

    def noisy(kind: str, db: int) -> Planter:
        return lambda sound, rng: planted(sound, kind, db, rng, speech)

    return tuple(
        Trial("gate", f"{kind} noise, {db} dB", "audio", noisy(kind, db), source="speech")
        for kind in KINDS for db in (0, 5, 10, 20)
    )  # fmt: skip


def clean_cells(kind: str, folders: Mapping[str, Path], rows: int) -> list[Any]:
    """Real cells of a kind, decoded."""
    if kind in ("text", "image"):
        table = read_table(folders["flickr"] / "train.csv")
        if kind == "text":
            return list(table.column("caption_0"))[:rows]
        return [_decoded(folders["flickr"] / cell, "image") for cell in table.column("image")[:rows]]
    if kind in ("audio", "series"):
        table = read_table(folders["avdigits"] / "train.csv")
        sounds = [_decoded(folders["avdigits"] / cell, "audio") for cell in table.column("audio")[:rows]]
        return sounds if kind == "audio" else [np.abs(s.samples[: len(s.samples) // 64 * 64]).reshape(-1, 64).max(1)
                                               for s in sounds]  # fmt: skip
    if kind == "number":
        table = read_table(folders["houses"] / "train.csv")
        return [float(v) for v in table.column("area_sqft")][:rows]
    return [str(v) for v in read_table(folders["avdigits"] / "train.csv").column("label")][:rows]


def _decoded(path: Path, kind: str) -> Any:
    return Media(kind, path).value()


def tried(trial: Trial, cells: Sequence[Any], share: float) -> dict[str, Any]:
    """Plant, carry out, count."""
    rng = np.random.default_rng(0)
    picked = rng.permutation(np.arange(len(cells) // 2, len(cells)))[: max(1, round(share * len(cells)))]
    made, marks = list(cells), np.zeros(len(cells), bool)
    for i in picked.tolist():
        source = cells[int(rng.integers(0, len(cells) // 2))] if trial.plant is None else cells[i]
        change = trial.twin if trial.plant is None else trial.plant
        made[i] = change(source, rng) if change else source
        marks[i] = not (isinstance(made[i], str) and made[i] == cells[i])
    touched, after = carried_out(trial.op, trial.kind, made)
    hit, wrong, missed = (int(s.sum()) for s in (touched & marks, touched & ~marks, ~touched & marks))
    return {
        "op": trial.op["name"] if isinstance(trial.op, dict) else trial.op,
        "fault": trial.fault,
        "rows": len(cells),
        "planted": int(marks.sum()),
        "found": hit,
        "precision": hit / max(hit + wrong, 1),
        "precision_interval": wilson(hit, hit + wrong),
        "recall": hit / max(hit + missed, 1),
        "recall_interval": wilson(hit, hit + missed),
        "dB": recovered(trial, cells, made, after, np.flatnonzero(marks)),
    }


def carried_out(step: Any, kind: str, cells: Sequence[Any]) -> tuple[np.ndarray, dict[int, Any]]:
    """Which rows the op set aside or changed, [N] bool, and the cells of those it kept."""
    kinds = {"cell": kind}
    rows = [Row(f"r{i}", i, {"cell": _held(value, kind)}, kinds) for i, value in enumerate(cells)]
    before = [row.cells["cell"] for row in rows]
    (op,) = Recipe.read([step]).ops({"cell": "number"} if kind == "number" else kinds)
    if op.surveys:
        op.finalize([op.partial_fit(Rows(rows[i : i + 64])) for i in range(0, len(rows), 64)])
    touched, after = np.ones(len(rows), bool), {}
    for start in range(0, len(rows), 64):
        batch = Rows(rows[start : start + 64])
        op.apply(batch)
        for row in batch.kept:
            value = row.cells["cell"]
            touched[row.number] = value is not before[row.number] and not (isinstance(value, str | float)
                                                                           and value == before[row.number])  # fmt: skip
            after[row.number] = row.get("cell")
    return touched, after


def _held(value: Any, kind: str) -> Any:
    return Media(kind, b"", decoded=value) if kind in ("image", "audio", "series") else value


def recovered(
    trial: Trial, clean: Sequence[Any], dirty: Sequence[Any], after: Mapping[int, Any], rows: np.ndarray
) -> str:
    """Median signal-to-noise ratio before and after, in dB, where an op mends samples."""
    if trial.op not in ("gate", "denoise", "gaps"):
        return ""
    found = [
        (_snr(_values(clean[i]), _values(dirty[i])), _snr(_values(clean[i]), _values(after[i])))
        for i in rows.tolist() if i in after
    ]  # fmt: skip
    before, later = np.median(np.array(found), axis=0)
    return f"{before:.1f} to {later:.1f}"


def _values(cell: Any) -> np.ndarray:
    if isinstance(cell, Image.Image):
        return np.asarray(cell.convert("RGB"), np.float64)
    return np.nan_to_num(np.asarray(cell.samples if isinstance(cell, Sound) else cell, np.float64))


def _snr(clean: np.ndarray, made: np.ndarray) -> float:
    """dB, once `made` is scaled to fit best (an op may change the level)."""
    scale = float((clean * made).sum() / max((made**2).sum(), 1e-12))
    return float(10 * np.log10((clean**2).sum() / max(((clean - scale * made) ** 2).sum(), 1e-12)))


def wilson(hits: int, n: int) -> str:
    """95 % interval of a share (Wilson 1927)."""
    if not n:
        return "none"
    z, p = 1.96, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return f"{max(0, middle - half):.2f} to {min(1, middle + half):.2f}"


def across(folders: Mapping[str, Path], rows: int, share: float, out: Path, space: str | None) -> list[dict[str, Any]]:
    """Faults that need several columns: wrong labels, leaks, mixed-up pairs. Through `prepare`, as a user would."""
    rng = np.random.default_rng(1)
    digits = read_table(folders["avdigits"] / "train.csv")
    columns = {name: _cells(digits, name, folders["avdigits"], rows) for name in ("id", "image", "audio", "label")}
    wrong = rng.permutation(rows)[: round(share * rows)].tolist()
    names = sorted(set(columns["label"]))
    for i in wrong:
        columns["label"][i] = names[(names.index(columns["label"][i]) + 1 + int(rng.integers(9))) % len(names)]
    found = [_through({"label_errors": {"label": "label"}}, "wrong labels", columns, set(wrong), out / "labels")]
    photos = read_table(folders["flickr"] / "test.csv")  # no space has seen them
    rows = min(rows, len(photos))
    columns = {name: _cells(photos, name, folders["flickr"], rows) for name in ("id", "image", "caption_0")}
    leaky = set(rng.permutation(rows // 2)[: round(share * rows)].tolist())
    columns["split"] = ["train" if i < rows // 2 else "test" for i in range(rows)]
    for i in leaky:
        columns["image"][i] = columns["image"][rows - 1 - i]
    found.append(_through("leaks", "a photo of test in train", columns, leaky, out / "leaks"))
    if space is not None:
        columns = {name: _cells(photos, name, folders["flickr"], rows) for name in ("id", "image", "caption_0")}
        mixed = rng.permutation(rows)[: round(share * rows)].tolist()
        moved = [columns["caption_0"][i] for i in (*mixed[1:], mixed[0])]
        for i, text in zip(mixed, moved):
            columns["caption_0"][i] = text
        step = {"mismatched": {"space": space, "columns": ["image", "caption_0"]}}
        found.append(_through(step, "another photo's caption", columns, set(mixed), out / "pairs"))
    return found


def _cells(table: Any, name: str, folder: Path, rows: int) -> list[str]:
    media = name in ("image", "audio")
    return [str(folder / v) if media else str(v) for v in table.column(name)[:rows]]


def _through(step: Any, fault: str, columns: Mapping[str, list[str]], planted: set[int], out: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    write_columns(columns, out / "dirty.csv")
    prepare(out / "dirty.csv", [step], out=out / "clean", workers=0, quiet=True)
    place = {name: i for i, name in enumerate(columns["id"])}
    taken = {place[r["id"]] for r in pq.read_table(out / "clean" / "set_aside.parquet").to_pylist()}
    hit = len(taken & planted)
    return {
        "op": step if isinstance(step, str) else next(iter(step)),
        "fault": fault,
        "rows": len(place),
        "planted": len(planted),
        "found": hit,
        "precision": hit / max(len(taken), 1),
        "precision_interval": wilson(hit, len(taken)),
        "recall": hit / max(len(planted), 1),
        "recall_interval": wilson(hit, len(planted)),
        "dB": "",
    }


def chart(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Precision and recall of each trial, with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.3 * len(rows) + 1.2))
    places = np.arange(len(rows))[::-1]
    for name, mark, shift in (("precision", "o", 0.12), ("recall", "s", -0.12)):
        ends = [[float(v) for v in r[f"{name}_interval"].split(" to ")] if r[f"{name}_interval"] != "none" else [0, 0]
                for r in rows]  # fmt: skip
        axes.hlines(places + shift, [e[0] for e in ends], [e[1] for e in ends], color="grey", linewidth=1)
        axes.plot([r[name] for r in rows], places + shift, mark, label=name, markersize=4)
    axes.set_yticks(places, [f"{r['op']}: {r['fault']}" for r in rows], fontsize=8)
    axes.set(xlim=(-0.02, 1.02), xlabel="share, with 95 % Wilson interval")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    arguments = parser(__doc__)
    for name in ("flickr", "avdigits", "houses"):
        arguments.add_argument(f"--{name}", default=name, help="folder, or a name within POLYMODAL_DATA")
    arguments.add_argument("--rows", type=int, default=400)
    arguments.add_argument("--share", type=float, default=0.1)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=8)
    arguments.add_argument("--train", action="store_true")
    arguments.add_argument("--train-rows", type=int, default=1200)
    arguments.add_argument("--only", choices=("trials", "across", "train"), help="one part alone")
    arguments.add_argument("--space")
    arguments.add_argument("--prompts", type=Path)
    arguments.add_argument("--out", type=Path, default=Path("runs/dirt"))
    options = arguments.parse_args()
    folders = {name: folder_of(getattr(options, name)) for name in ("flickr", "avdigits", "houses")}
    options.out.mkdir(parents=True, exist_ok=True)
    found, cells = [], {}
    speech = prompts(options.prompts, options.rows) if options.prompts else []
    trials = (*TRIALS, *(noise_trials(speech) if speech else ())) if options.only in (None, "trials") else ()
    for trial in trials:
        source = trial.source or trial.kind
        if source not in cells:
            cells = {source: speech if source == "speech" else clean_cells(trial.kind, folders, options.rows)}
        found.append(tried(trial, cells[source], options.share))
        told = {key: found[-1][key] for key in ("op", "fault", "planted", "found", "precision", "recall", "dB")}
        print(*told.values(), sep="  ", file=sys.stderr, flush=True)
    if options.only in (None, "across"):
        found += across(folders, options.rows, options.share, options.out, options.space)
    if found:
        show(found, options.json)
        chart(found, options.out / "dirt.png")
    if options.train or options.only == "train":
        for table in trained(
            folders["avdigits"], options.share, (options.out / "train").resolve(), options.train_rows, options.seeds,
            options.epochs,
        ):  # fmt: skip
            show(table, options.json)


if __name__ == "__main__":
    main()
