"""suggest: planted dirt is found with its figure; clean data call for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import polymodal as pm
from polymodal.cli import app
from polymodal.core.errors import BadArgument
from polymodal.data.tables.write import write_columns
from polymodal.preparation.recipe import Recipe

WORDS = (  # noqa: SIM905 - a list of 28 words, a line each, says less
    "river mountain house garden window bridge street market winter summer animal picture letter teacher "
    "children morning evening kitchen journey village captain soldier doctor farmer music silver golden paper"
).split()
ROWS = 120


def columns(rng: np.random.Generator) -> dict[str, list[str]]:
    """Clean rows: texts, categories, numbers and labels that go with them."""
    text = ["The " + " ".join(rng.choice(WORDS, 12, replace=False)) + " and so on." for _ in range(ROWS)]
    return {
        "id": [f"r{i}" for i in range(ROWS)],
        "words": text,
        "town": [["London", "Paris", "Berlin"][i % 3] for i in range(ROWS)],
        "price": [f"{v:.2f}" for v in rng.normal(100, 10, ROWS)],
    }


def suggested(rows: dict[str, list[str]], folder, **options) -> pm.suggest:
    write_columns(rows, folder / "data.csv")
    return pm.suggest(folder / "data.csv", **options)


def names(found) -> list[str]:
    return [step.name for step in found.steps]


def test_clean_rows_call_for_nothing(tmp_path, rng):
    found = suggested(columns(rng), tmp_path)
    assert names(found) == []
    assert yaml.safe_load(found.to_yaml()) == {"steps": []}
    with pytest.raises(BadArgument, match="no step"):
        _ = found.recipe


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _plant(rows: dict[str, list[str]], what: str) -> None:
    words = rows["words"]
    if what == "unicode":
        words[3] = words[3] + " cafÃ© crÃ¨me"
    elif what == "markup":
        words[4] = f"<p>{words[4]}</p> <b>more</b>"
    elif what == "personal":
        words[5] += " Write to jane.doe@example.com."
    elif what == "spaces":
        words[6] = words[6].replace(" ", "   ")
    elif what == "near_duplicates":
        words[9] = words[8].replace(".", "!!")
    elif what == "exact_duplicates":
        for column in ("words", "town", "price"):
            rows[column][11] = rows[column][10]
    elif what == "categories":
        rows["town"][2] = "berlin "
    elif what == "outliers":
        rows["price"][7] = "90000"
    elif what == "range":
        rows["price"][20:25] = ["-999"] * 5
    elif what == "units":
        rows["price"] = [f"{p} {'cm' if i % 4 else 'm'}" for i, p in enumerate(rows["price"])]
    elif what == "language":
        words[12] = "Der Hund läuft über die Straße und der Mann sieht ihm nach, weil er nichts anderes zu tun hat."


@pytest.mark.parametrize(
    "what",
    [
        "unicode", "markup", "personal", "spaces", "near_duplicates", "exact_duplicates", "categories", "outliers",
        "range", "units", "language",
    ],
)  # fmt: skip
def test_planted_dirt_is_suggested_with_its_figure(what, tmp_path, rng):
    if what in ("unicode", "language"):
        pytest.importorskip("ftfy" if what == "unicode" else "py3langid", reason="the extra text is not installed")
    rows = columns(rng)
    _plant(rows, what)
    found = suggested(rows, tmp_path)
    assert what in names(found)
    step = next(step for step in found.steps if step.name == what)
    assert f"of {step.seen} rows" in step.reason
    assert step.seen >= ROWS - 1, "all but what an earlier step took out"
    assert Recipe.read(yaml.safe_load(found.to_yaml())) == found.recipe
    again = pm.prepare(tmp_path / "data.csv", found.recipe, out=tmp_path / "out", workers=0, quiet=True)
    assert again.kept + again.set_aside == ROWS
    assert what not in names(pm.suggest(again.table)), "what was mended is not suggested again"


def test_what_would_throw_much_away_is_a_comment_that_says_so(tmp_path, rng):
    rows = columns(rng)
    rows["words"][60:] = rows["words"][:60]
    rows["town"] = ["London"] * ROWS
    found = suggested(rows, tmp_path)
    (step,) = [s for s in found.steps if s.name == "near_duplicates"]
    assert (step.active, step.set_aside) == (False, 60)
    assert "throw away more than 10%" in step.reason
    assert "# - near_duplicates" in found.to_yaml()
    assert "near_duplicates" not in yaml.safe_dump(yaml.safe_load(found.to_yaml()))


def test_pictures_and_sounds(tmp_path, rng):
    soundfile = pytest.importorskip("soundfile")
    rows: dict[str, list[str]] = {"id": [], "photo": [], "sound": []}
    grid = np.add.outer(np.arange(64), np.arange(64))
    for i in range(30):
        pixels = ((np.sin(grid[..., None] / rng.uniform(2, 9, 3)) + 1) * 100 + rng.integers(0, 6, (64, 64, 1))).astype(
            np.uint8
        )
        picture = Image.fromarray(np.full((64, 64, 3), 80, np.uint8) if i == 3 else pixels)
        exif = picture.getexif()
        exif[0x0112] = 6 if i == 4 else 1
        picture.save(tmp_path / f"{i}.png", exif=exif)
        if i == 5:
            (tmp_path / "5.png").write_bytes(b"")
        burst = np.concatenate([np.zeros(2000), rng.normal(0, 0.1, 4000), np.zeros(2000)])
        rate = 16_000 if i != 6 else 8_000
        samples = np.zeros(8000) if i == 7 else np.clip(burst, -0.05, 0.05) if i == 8 else burst
        soundfile.write(tmp_path / f"{i}.wav", samples, rate)
        rows["id"].append(f"r{i}")
        rows["photo"].append(f"{i}.png")
        rows["sound"].append(f"{i}.wav")
    found = suggested(rows, tmp_path)
    told = {step.name: step for step in found.steps}
    assert {"readable", "upright", "uniform", "silent", "clipped", "resample"} <= told.keys()
    assert told["resample"].options["rate"] == 16_000
    assert "29 at 16,000 Hz, 1 at 8,000 Hz" in told["resample"].reason
    assert (told["readable"].set_aside, told["uniform"].set_aside, told["upright"].changed) == (1, 1, 1)


def test_series_gaps_choose_their_longest(tmp_path, rng):
    rows: dict[str, list[str]] = {"id": [], "ecg": []}
    for i in range(12):
        series = rng.normal(0, 1, 100).astype(np.float32)
        if i < 5:
            series[10 : 14 + i] = np.nan
        np.save(tmp_path / f"{i}.npy", series)
        rows["id"].append(f"r{i}")
        rows["ecg"].append(f"{i}.npy")
    found = suggested(rows, tmp_path, schema={"fields": {"ecg": "series"}})
    (step,) = [s for s in found.steps if s.name == "gaps"]
    assert step.options == {"longest": 7}
    assert "6 samples in the median, 8 at most" in step.reason


def test_what_only_the_user_can_know_of_series_is_a_comment(tmp_path, rng):
    rows: dict[str, list[str]] = {"id": [], "ecg": []}
    for i in range(20):
        series = np.sin(np.linspace(0, 20, 120)) + rng.normal(0, 0.1, 120)
        if i < 3:
            series += np.linspace(0, 30, 120)
        elif i < 6:
            series[60] += 20
        elif i < 9:
            series = series[::2]
        np.save(tmp_path / f"{i}.npy", series.astype(np.float32))
        rows["id"].append(f"r{i}")
        rows["ecg"].append(f"{i}.npy")
    found = suggested(rows, tmp_path, schema={"fields": {"ecg": "series"}})
    told = {step.name: step for step in found.steps}
    assert set(told) == {"drift", "smooth", "series_resample"}
    assert not any(step.active for step in found.steps)
    assert told["series_resample"].options == {"samples": 120}
    assert "15% of the series a straight line" in told["drift"].reason
    assert "15% of the series hold single samples" in told["smooth"].reason


def test_lengths_colours_and_dead_ends(tmp_path, rng):
    soundfile = pytest.importorskip("soundfile")
    rows = columns(rng)
    rows["words"][3], rows["words"][4] = "Well", " ".join(rows["words"][:12])
    rows["photo"], rows["sound"] = [], []
    for i in range(ROWS):
        picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((32, 32))
        (picture.convert("L") if i < 20 else picture).save(tmp_path / f"{i}.png")
        sound = rng.normal(0, 0.1, 4000)
        soundfile.write(tmp_path / f"{i}.wav", np.concatenate([np.zeros(4000 * (i < 20)), sound]), 8000)
        rows["photo"].append(f"{i}.png")
        rows["sound"].append(f"{i}.wav")
    told = {step.name: step for step in suggested(rows, tmp_path).steps}
    assert (told["length"].set_aside, told["length"].active) == (2, True)
    assert "of the texts in words have 16 words or fewer" in told["length"].reason
    assert (told["normal"].changed, told["normal"].options) == (18, {"mode": "RGB"})
    assert "100 in RGB, 20 in L" in told["normal"].reason
    assert told["trim"].changed == 18, "two are gone for the length of their texts"


def test_a_long_tail_of_numbers_is_left_to_the_user(tmp_path, rng):
    rows = columns(rng)
    rows["price"] = [f"{v:.0f}" for v in [*rng.normal(85000, 20, ROWS - 15), *rng.normal(93000, 20, 15)]]
    (step,) = suggested(rows, tmp_path).steps
    assert (step.name, step.active) == ("outliers", False)
    assert "more than 1%" in step.reason


def test_a_schema_says_how_numbers_are_written(tmp_path, rng):
    rows = columns(rng)
    rows["price"] = [*(f"{v // 1000}.{v % 1000:03d}" for v in rng.integers(1000, 9999, ROWS - 6)), *["-999"] * 6]
    assert "range" in names(suggested(rows, tmp_path)), "-999 is far from 1.0 to 9.9 …"
    assert "range" not in names(suggested(rows, tmp_path, schema={"written": {"price": ","}})), "… not from 1,000 up"


def test_leaks_where_there_is_a_split_and_labels_where_a_target(tmp_path, rng):
    rows = columns(rng)
    rows["split"] = ["test" if i % 4 == 0 else "train" for i in range(ROWS)]
    rows["words"][0] = rows["words"][1]
    for i, town in enumerate(rows["town"]):
        rows["words"][i] += f" It is in {town}, {town} and {town} alone."
    rows["town"][9], rows["town"][20] = "Paris", "London"
    rows["words"][0] = rows["words"][1]
    found = suggested(rows, tmp_path, target="town")
    told = {step.name: step for step in found.steps}
    assert "leaks" in told or "near_duplicates" in told
    assert told["label_errors"].options == {"label": "town", "then": "mark"}
    assert told["label_errors"].changed >= 2
    with pytest.raises(BadArgument, match="no column 'twon'. Did you mean 'town'"):
        pm.suggest(tmp_path / "data.csv", target="twon")


def test_the_command(tmp_path, rng):
    rows = columns(rng)
    _plant(rows, "markup")
    write_columns(rows, tmp_path / "data.csv")
    run = CliRunner().invoke
    done = run(app, ["prepare", str(tmp_path / "data.csv"), "--suggest", "-r", str(tmp_path / "r.yaml")])
    assert done.exit_code == 0, done.output
    assert Recipe.read(tmp_path / "r.yaml").steps == ("markup",)
    assert "would change" in (tmp_path / "r.yaml").read_text()
    assert run(app, ["prepare", str(tmp_path / "data.csv"), "--suggest"]).output.endswith("  - markup\n")
    for words, message in (
        (["--suggest", "-r", str(tmp_path / "r.yaml")], "exists"),
        (["--suggest", "-o", str(tmp_path / "out")], "leave out --out"),
        (["-t", "town"], "--target belongs to --suggest"),
        ([], "--suggest writes a recipe"),
    ):
        failed = run(app, ["prepare", str(tmp_path / "data.csv"), *words])
        assert isinstance(failed.exception, BadArgument)
        assert message in str(failed.exception)
