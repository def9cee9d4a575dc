"""The index against a dict, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polymodal.core.errors import BadArgument, BadData, MissingExtra, UnknownName
from polymodal.retrieval import graph as graph_module
from polymodal.retrieval.changes import Vectors
from polymodal.retrieval.index import Index

STREAMS = {"photo": "image", "words": "text"}


def unit(rng, count, dim=8):
    x = rng.normal(size=(count, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path):
    """Twelve rows: all have a photo, every second has words, every third a price."""
    rng = np.random.default_rng(0)
    made = Index.create(tmp_path / "idx", dim=8, streams=STREAMS, mark="space one", calibrate="off")
    photo, words = unit(rng, 12), unit(rng, 12)
    present = np.arange(12) % 2 == 0
    made.add(
        [f"r{i}" for i in range(12)],
        {"photo": photo, "words": Vectors.one_each(words, "title", present)},
        {"price": [float(i) if i % 3 == 0 else None for i in range(12)], "brand": ["x", "y"] * 6},
        mark="space one",
    )
    made.photo, made.words = photo, words
    return made


def ids(index, found):
    return [[index.describe(i)["id"] for i in row if i >= 0] for row in found.items]


IDS = st.sampled_from([*"abcdefg", "日本", "ä ö", "\ud800", "", "a\nb"])


class AgainstADict(RuleBasedStateMachine):
    """Changes by two writers in turn, compactions and reopenings; a dict says what must be there."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.index = Index.create(self.folder.name + "/i", dim=4, streams=STREAMS, calibrate="off")
        self.other = Index(self.folder.name + "/i")
        self.rng = np.random.default_rng(0)
        self.model: dict[str, dict] = {}

    def teardown(self):
        self.folder.cleanup()

    def some(self, names, streams, columns):
        vectors = {s: unit(self.rng, len(names), 4) for s in streams}
        values = {c: self.rng.integers(0, 5, len(names)).tolist() for c in columns}
        rows = [({s: vectors[s][i] for s in streams}, {c: values[c][i] for c in columns}) for i in range(len(names))]
        return vectors, values, rows

    @rule(names=st.lists(IDS, unique=True, max_size=4), streams=st.sets(st.sampled_from(list(STREAMS))))
    def add(self, names, streams):
        vectors, values, rows = self.some(names, sorted(streams), ["n"])
        if set(names) & set(self.model):
            with pytest.raises(BadData, match="in the index already"):
                self.index.add(names, vectors, values)
            return
        self.index.add(names, vectors, values)
        self.model.update({name: {"vectors": v, "columns": c} for name, (v, c) in zip(names, rows)})

    @precondition(lambda self: self.model)
    @rule(data=st.data(), streams=st.sets(st.sampled_from(list(STREAMS))), columns=st.sets(st.sampled_from("nm")))
    def update(self, data, streams, columns):
        names = data.draw(st.lists(st.sampled_from(sorted(self.model)), unique=True, min_size=1))
        vectors, values, rows = self.some(names, sorted(streams), sorted(columns))
        self.other.update(names, vectors, values)
        for name, (v, c) in zip(names, rows):
            self.model[name]["vectors"].update(v)
            self.model[name]["columns"].update(c)

    @rule(name=IDS)
    def delete(self, name):
        if name not in self.model:
            with pytest.raises(UnknownName):
                self.other.delete([name])
            return
        self.other.delete([name])
        del self.model[name]

    @rule()
    def compact(self):
        self.index.compact()

    @rule()
    def reopen(self):
        self.other = Index(self.folder.name + "/i")

    @rule(cut=st.integers(1, 60))
    def torn(self, cut):
        """A writer was killed in the middle of a record."""
        with open(self.folder.name + "/i/items.journal", "r+b") as file:
            start = file.read(cut)
            file.truncate(self.index._journal.end)
            file.seek(self.index._journal.end)
            file.write(start)

    @invariant()
    def agrees(self):
        for index in (self.index, self.other):
            index.refresh()
            assert set(index.corpus.names) == set(self.model)
            for name, row in self.model.items():
                assert index.row(name) == row["columns"]
                held = index.vectors_of(name)
                assert set(held) == set(row["vectors"])
                for stream, vector in row["vectors"].items():
                    np.testing.assert_array_equal(held[stream][0], vector)
            every = [v for row in self.model.values() for v in row["vectors"].values()]
            sums = sum(every, np.zeros(4))
            held = index.corpus.means() * index.corpus.counts[:, None]
            np.testing.assert_allclose(held.sum(0), sums, atol=1e-4)
            query = unit(np.random.default_rng(1), 1, 4)
            found = index.nearest(query, 100)
            expected = sorted((float(v @ query[0]) for v in every), reverse=True)
            np.testing.assert_allclose(found.scores[0][: len(expected)], expected, atol=1e-5)
            assert (found.items[0][len(expected) :] == -1).all()


AgainstADict.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestAgainstADict = AgainstADict.TestCase


def test_the_nearest_are_those_of_a_plain_product(index):
    query = unit(np.random.default_rng(1), 3)
    found = index.nearest(query, 5, mark="space one", among=["photo"])
    scores = query @ index.photo.T
    assert ids(index, found) == [[f"r{i}" for i in np.argsort(-row)[:5]] for row in scores]
    np.testing.assert_allclose(found.scores, -np.sort(-scores)[:, :5], rtol=1e-5)


def test_missing_cells_are_not_found_and_k_may_exceed_what_there_is(index):
    found = index.nearest(index.words[:1], 100, mark="space one", among=["words"])
    assert sorted(ids(index, found)[0]) == sorted(f"r{i}" for i in range(0, 12, 2))
    assert found.items.shape == (1, 100)
    assert (found.items[0, 6:] == -1).all()
    assert np.isneginf(found.scores[0, 6:]).all()
    assert index.counts() == {"photo": 12, "words": 6}


def test_an_empty_index_finds_nothing(tmp_path):
    empty = Index.create(tmp_path / "empty", dim=3, streams={"a": "text"})
    assert (empty.nearest(np.ones((2, 3)), 4).items == -1).all()
    assert len(empty) == 0
    empty.compact()
    assert len(Index(tmp_path / "empty")) == 0
    assert empty.build_graph("on") is False


def test_filters_streams_and_rows_left_out(index):
    found = index.nearest(index.photo[:1], 20, mark="space one", where="price >= 3 and brand == 'y'")
    assert set(ids(index, found)[0]) == {"r3", "r9"}
    found = index.nearest(index.photo[:1], 20, mark="space one", where={"brand": "x"}, without=["r0"])
    assert set(ids(index, found)[0]) == {"r2", "r4", "r6", "r8", "r10"}
    assert len(ids(index, index.nearest(index.photo[:1], 20, mark="space one", where="price > 100"))[0]) == 0


def test_several_items_of_a_row(tmp_path):
    made = Index.create(tmp_path / "i", dim=4, streams={"caption": "text"})
    rng = np.random.default_rng(0)
    vectors = unit(rng, 5, 4)
    made.add(["a", "b"], {"caption": Vectors(np.array([0, 0, 0, 1, 1]), vectors, ["c0", "c1", "c2", "c0", "c2"])})
    best = made.describe(made.nearest(vectors[2:3], 1).items[0, 0])
    assert best == {"id": "a", "stream": "caption", "part": "c2"}
    made.update(["a"], {"caption": Vectors(np.array([0, 0]), unit(rng, 2, 4), ["c3", "c4"])})
    assert {name: len(v) for name, v in made.vectors_of("a").items()} == {"caption": 2}
    assert made.counts() == {"caption": 4}
    made.compact()
    again = Index(tmp_path / "i")
    assert sorted(again.describe(i)["part"] for i in again.nearest(vectors[:1], 9).items[0] if i >= 0) == [
        "c0", "c2", "c3", "c4",
    ]  # fmt: skip


def test_vectors_and_queries_of_another_space_are_refused(index):
    for attempt in (
        lambda: index.nearest(index.photo, mark="space two"),
        lambda: index.nearest(index.photo),
        lambda: index.add(["new"], {"photo": index.photo[:1]}, mark="space two"),
        lambda: index.update(["r1"], {"photo": index.photo[:1]}, mark=""),
    ):
        with pytest.raises(BadData, match="another space.*space one"):
            attempt()
    index.update(["r1"], columns={"price": [7.5]})  # no vector, so no space
    assert index.row("r1")["price"] == 7.5


@pytest.mark.parametrize(
    ("attempt", "error", "words"),
    [
        (lambda i: i.add(["a", "a"], {}), BadData, "'a' is given twice"),
        (lambda i: i.add("abc", {}), BadArgument, "string 'abc'"),
        (lambda i: i.add(["a"], {"photo": np.ones((1, 7))}, mark="space one"), BadData, "8 numbers"),
        (lambda i: i.add(["a"], {"photo": np.ones((2, 8))}, mark="space one"), BadData, "each of 1 ids"),
        (lambda i: i.add(["a"], {"photo": np.zeros((1, 8))}, mark="space one"), BadData, "no direction"),
        (lambda i: i.add(["a"], {"photo": np.full((1, 8), np.inf)}, mark="space one"), BadData, "not finite"),
        (lambda i: i.add(["a"], {"foto": np.ones((1, 8))}, mark="space one"), UnknownName, "mean 'photo'"),
        (lambda i: i.add(["a"], {}, {"price": [1, 2]}), BadData, "'price': 2"),
        (
            lambda i: i.add(["a"], {"photo": Vectors(np.array([1]), np.ones((1, 8)), ["p"])}, mark="space one"),
            BadData,
            "places among the 1 ids; got 1 to 1",
        ),
        (
            lambda i: i.add(["a"], {"photo": Vectors(np.array([0]), np.ones((1, 8)), [])}, mark="space one"),
            BadData,
            "a part each",
        ),
        (lambda i: i.update(["rr1"], {}), UnknownName, "no row 'rr1'"),
        (lambda i: i.delete(["r1", "zz"]), UnknownName, "no row 'zz'"),
        (lambda i: i.nearest(np.ones((1, 3)), mark="space one"), BadData, "8 numbers"),
        (lambda i: i.nearest(np.zeros((1, 8)), mark="space one"), BadData, "no direction"),
        (lambda i: i.nearest(i.photo, 0, mark="space one"), BadArgument, "at least 1; got 0"),
        (lambda i: i.nearest(i.photo, mark="space one", among=["word"]), UnknownName, "mean 'words'"),
        (lambda i: i.nearest(i.photo, mark="space one", where="prise < 3"), UnknownName, "mean 'price'"),
        (lambda i: i.nearest(i.photo, mark="space one", approximate=True), BadArgument, "no graph"),
        (lambda i: i.build_graph("yes"), BadArgument, "auto, on, off"),
        (lambda i: Index.create(i.folder, dim=8, streams=STREAMS), BadArgument, "holds an index already"),
        (lambda i: Index.create(i.folder / "x", dim=8, streams={}), BadArgument, "a stream"),
        (lambda i: Index.create(i.folder / "x", dim=8, streams=STREAMS, calibrate="no"), BadArgument, "auto, on, off"),
        (lambda i: Index(i.folder / "nothing"), BadData, "holds no index"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(index, attempt, error, words):
    before = (index.folder / "items.journal").read_bytes()
    with pytest.raises(error, match=words):
        attempt(index)
    assert (index.folder / "items.journal").read_bytes() == before
    assert len(Index(index.folder)) == 12


def test_vectors_are_brought_to_length_one(tmp_path):
    made = Index.create(tmp_path / "i", dim=4, streams={"a": "text"})
    made.add(["x"], {"a": np.array([[3.0, 0, 4.0, 0]])})
    assert made.nearest(np.array([[30.0, 0, 40.0, 0]]), 1).scores[0, 0] == pytest.approx(1.0)


def test_compaction_shrinks_the_journal_and_readers_follow(index):
    reader = Index(index.folder)
    for _ in range(20):
        index.update(["r0"], {"photo": index.photo[:1]}, mark="space one")
    size = (index.folder / "items.journal").stat().st_size
    (index.folder / ".items.journal.stale").write_bytes(b"of a compaction that was killed")
    index.compact()
    assert (index.folder / "items.journal").stat().st_size < 0.7 * size
    assert sorted(p.name for p in index.folder.iterdir()) == ["items.journal", "lock"]
    index.delete(["r3"])
    assert ids(reader, reader.nearest(index.photo[:1], 1, mark="space one")) == [["r0"]]
    assert "r3" not in reader
    assert reader.head["generation"] == index.head["generation"]


def test_a_reader_is_not_misled_by_a_file_of_the_same_number(index):
    """Compacted twice, the journal may get back the number in the file system that it had when it was last read."""
    reader = Index(index.folder)
    path = index.folder / "items.journal"
    index.delete(["r1"])
    index.compact()
    content = path.read_bytes()
    other = Index.create(index.folder / "other", dim=8, streams=STREAMS, mark="space one")
    other.add(["z" * len(content)], {})
    path.write_bytes((index.folder / "other" / "items.journal").read_bytes())  # the same number, another journal
    reader.refresh()
    assert reader.corpus.names == ["z" * len(content)]


def planted(tmp_path, calibrate, count=200):
    """Photos and captions of `count` things; each stream shifted by a gap of its own."""
    rng = np.random.default_rng(3)
    things = rng.normal(size=(count, 32))
    gap = 6 * rng.normal(size=(2, 32)) / np.sqrt(32) * 3
    photo, words = (things + 0.5 * rng.normal(size=things.shape) + g for g in gap)
    made = Index.create(tmp_path / calibrate, dim=32, streams=STREAMS, calibrate=calibrate)
    half = count // 2
    made.add([f"p{i}" for i in range(half)], {"photo": photo[:half]})
    made.add([f"w{i}" for i in range(half, count)], {"words": words[half:]})
    return made, photo.astype(np.float32), words.astype(np.float32)


def test_the_gap_is_calibrated_in_a_mixed_corpus(tmp_path):
    """A text asks for things of which half are there as photos: without calibration texts come first."""
    share = {}
    for calibrate in ("off", "auto"):
        made, _, words = planted(tmp_path, calibrate)
        queries = words[:100] + 0.1 * np.random.default_rng(4).normal(size=(100, 32)).astype(np.float32)
        found = made.nearest(queries, 1, stream="words")
        share[calibrate] = np.mean([made.describe(item)["id"] == f"p{i}" for i, item in enumerate(found.items[:, 0])])
    assert share["off"] < 0.1
    assert share["auto"] > 0.8


def test_calibrated_scores_are_those_of_the_formula(tmp_path):
    made, photo, words = planted(tmp_path, "on")
    made.delete(["p3", "w150"])
    made.update(["p5"], {"photo": photo[150:151]})
    unit_of = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    held = {"photo": np.delete(photo[:100], 3, axis=0), "words": np.delete(words[100:], 50, axis=0)}
    held["photo"][4] = photo[150]
    mean = {name: unit_of(x.astype(np.float64)).mean(0) for name, x in held.items()}
    queries = words[:3]
    asked = unit_of(unit_of(queries) - mean["words"])
    scores = np.concatenate([asked @ unit_of(unit_of(x) - mean[name]).T for name, x in held.items()], axis=1)
    found = made.nearest(queries, 12, stream="words")
    np.testing.assert_allclose(found.scores, -np.sort(-scores)[:, :12], atol=1e-5)
    plain = made.nearest(queries, 12, stream=None)  # of no stream that is known: the query stays as it is
    assert not np.allclose(plain.scores, found.scores)


def clustered(count, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, dim))[rng.integers(40, size=count)] + 0.7 * rng.normal(size=(count, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def graphed(tmp_path, count=3000):
    pytest.importorskip("faiss")
    made = Index.create(tmp_path / "g", dim=16, streams={"a": "text"})
    vectors = clustered(count)
    made.add([str(i) for i in range(count)], {"a": vectors}, {"n": list(range(count))})
    assert made.build_graph("on")
    return made, vectors


def recall(a, b):
    return np.mean([len(set(x) & set(y)) / len(y) for x, y in zip(a.items, b.items)])


def test_the_graph_finds_what_exact_search_finds_and_gives_its_scores(tmp_path):
    made, _ = graphed(tmp_path)
    queries = clustered(50, seed=1)
    near, exact = made.nearest(queries, 10), made.nearest(queries, 10, approximate=False)
    assert near.approximate
    assert not exact.approximate
    assert recall(near, exact) > 0.95
    assert made.graph.facts.recall >= 0.95
    same = near.items == exact.items
    np.testing.assert_allclose(near.scores[same], exact.scores[same], rtol=1e-5)


def test_what_comes_and_goes_after_the_graph_was_built(tmp_path):
    made, vectors = graphed(tmp_path)
    query = clustered(1, seed=5)
    made.add(["fresh"], {"a": query})
    made.delete(["7"])
    found = made.nearest(np.concatenate([query, vectors[7:8]]), 3)
    assert found.approximate
    assert made.describe(found.items[0, 0])["id"] == "fresh"
    assert "7" not in ids(made, found)[1]
    again = Index(made.folder)
    assert again.graph is not None
    np.testing.assert_array_equal(again.nearest(query, 3).items, made.nearest(query, 3).items)
    wide, narrow = made.nearest(query, 5, where="n < 2000"), made.nearest(query, 5, where="n < 100")
    assert wide.approximate
    assert not narrow.approximate  # so few are left that exact search is faster
    assert all(int(i) < 2000 for i in ids(made, wide)[0])


def test_a_graph_of_another_generation_or_damaged_is_passed_over_and_said(tmp_path):
    made, _ = graphed(tmp_path, 400)
    made.compact()
    assert made.graph is None
    assert "exact until it is rebuilt" in made.notes[0]
    made.build_graph("on")
    assert made.notes == []
    path = made.folder / "graph"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    damaged = Index(made.folder)
    assert damaged.graph is None
    assert "rebuilt" in damaged.notes[0]
    assert made.build_graph("auto") is False  # too small for it
    assert not path.exists()


def test_a_graph_of_vectors_calibrated_otherwise_is_not_used_and_that_is_said(tmp_path):
    pytest.importorskip("faiss")
    made = Index.create(tmp_path / "g", dim=16, streams=STREAMS)
    vectors = clustered(400)
    made.add([str(i) for i in range(200)], {"photo": vectors[:200]})
    made.build_graph("on")
    assert made.nearest(vectors[:1], mark="").approximate
    assert made.notes == []
    made.add([str(i) for i in range(200, 400)], {"words": vectors[200:]})  # two streams now, so the gap is taken out
    assert not made.nearest(vectors[:1]).approximate
    assert "calibrated otherwise" in made.notes[0]
    made.build_graph("on")
    assert made.nearest(vectors[:1]).approximate
    assert made.graph.facts.calibrated
    near, exact = (
        made.nearest(vectors[:50], stream="photo"),
        made.nearest(vectors[:50], stream="photo", approximate=False),
    )
    assert recall(near, exact) > 0.95


def test_without_the_extra_search_is_exact_and_says_so(tmp_path, monkeypatch):
    made, vectors = graphed(tmp_path, 400)

    def absent(module, extra):
        raise MissingExtra(f"pip install 'polymodal[{extra}]'")

    monkeypatch.setattr(graph_module, "require", absent)
    opened = Index(made.folder)
    assert "polymodal[search]" in opened.notes[0]
    assert not opened.nearest(vectors[:1]).approximate
    with pytest.raises(MissingExtra):
        opened.build_graph("on")
