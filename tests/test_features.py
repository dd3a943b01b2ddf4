"""Features mean what their names say, are the same one by one as in batch, and know nothing of outcomes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from routelab import LLMRequest, PerformanceTable, RequestFeaturizer
from routelab.embedders import EMBEDDERS, TfidfEmbedder, make_embedder
from routelab.errors import RoutelabError
from routelab.lexical import LEXICAL_NAMES
from routelab.request import REQUEST_NAMES
from routelab.tables.synthetic import World

KINDS = [(embedder, n) for embedder in ("wordllama", "tfidf") for n in (None, 5)] + [(None, None)]


@pytest.fixture(scope="module")
def table() -> PerformanceTable:
    return World().generate(40, seed=3).table


@pytest.fixture(scope="module")
def own() -> PerformanceTable:
    """Two prompts without text, described by numbers of the user's own and the load of one of two providers."""
    rows = [(i, p, 0.5, 0.1, 0.25 * (i + 1), 2.0 + i, i + 7.0) for i in range(2) for p in ("b", "a")]
    names = ["prompt_id", "provider", "quality", "cost_usd", "x_estimated_complexity", "x_load_a", "x_age"]
    return PerformanceTable.from_frame(pd.DataFrame(rows, columns=names))


def loads(table: PerformanceTable) -> list[dict[str, float]]:
    return [dict(zip(table.providers, row, strict=True)) for row in table.load().tolist()]


def one_by_one(featurizer: RequestFeaturizer, table: PerformanceTable) -> np.ndarray:
    pairs = zip(table.requests(), loads(table), strict=True)
    return np.stack([featurizer.transform_one(request, load) for request, load in pairs])


class LetterEmbedder:
    """An embedder of one's own: how often the first letters of the alphabet occur."""

    def __init__(self, letters: str = "abc") -> None:
        self.letters = letters

    @property
    def dimension(self) -> int:
        return len(self.letters)

    def fit(self, texts):
        return self

    def embed(self, texts):
        return np.array([[text.count(letter) for letter in self.letters] for text in texts], dtype=np.float32)


@pytest.mark.parametrize(("embedder", "n_components"), KINDS)
def test_one_request_gets_the_row_that_it_gets_in_the_table(table, embedder, n_components):
    featurizer = RequestFeaturizer(embedder, n_components).fit(table)
    X = featurizer.transform(table)
    assert X.dtype == np.float32
    assert X.shape == (40, len(featurizer.feature_names_))
    np.testing.assert_allclose(one_by_one(featurizer, table), X, atol=1e-6)
    np.testing.assert_allclose(featurizer.transform(table.take([7, 3])), X[[7, 3]], atol=1e-6)


def test_a_table_without_text_gives_the_same_rows_one_by_one(own):
    featurizer = RequestFeaturizer().fit(own)
    np.testing.assert_array_equal(one_by_one(featurizer, own), featurizer.transform(own))
    assert featurizer.feature_names_ == (*REQUEST_NAMES, "load_b", "load_a", "x_age")


def test_every_name_stands_over_its_own_column(own, table):
    featurizer = RequestFeaturizer().fit(own)
    X = pd.DataFrame(featurizer.transform(own), columns=featurizer.feature_names_)
    assert X["x_age"].tolist() == [7.0, 8.0]
    assert X["load_a"].tolist() == [2.0, 3.0]
    assert X["load_b"].tolist() == [0.0, 0.0]
    assert X["estimated_complexity"].tolist() == [0.25, 0.5]
    featurizer = RequestFeaturizer(LetterEmbedder()).fit(table)
    assert featurizer.get_feature_names_out().tolist() == list(featurizer.feature_names_)
    X = pd.DataFrame(featurizer.transform(table), columns=featurizer.feature_names_)
    for provider in table.providers:
        column = table.feature_names.index(f"load_{provider}")
        np.testing.assert_allclose(X[f"load_{provider}"], table.features[:, column])
    for slot, letter in enumerate("abc"):
        assert X[f"embedding_00{slot}"].tolist() == [text.count(letter) for text in table.prompts]
    np.testing.assert_allclose(np.expm1(X["words"]), [len(text.split()) for text in table.prompts], rtol=1e-5)
    assert list(X.columns[11:23]) == list(LEXICAL_NAMES)


def test_load_is_taken_by_name_and_unknown_or_missing_providers_count_nothing(table):
    featurizer = RequestFeaturizer(None).fit(table)
    swapped = table.select_providers(["mini", "nano"])
    names = featurizer.feature_names_
    X = featurizer.transform(swapped)
    for name in ("nano", "mini"):
        np.testing.assert_allclose(X[:, names.index(f"load_{name}")], table.load()[:, table.providers.index(name)])
    assert not X[:, names.index("load_large")].any()
    one = featurizer.transform_one(LLMRequest("Hi"), {"large": 2.0, "newcomer": 9.0})
    assert one[names.index("load_large")] == 2.0
    assert one.max() < 9.0


def test_the_reduction_is_fitted_on_the_training_prompts_only(table):
    train, held = table.split(0.5, seed=0)
    featurizer = RequestFeaturizer("wordllama", n_components=4).fit(train)
    vectors = make_embedder("wordllama").embed(list(train.prompts)).astype(float)
    centred = vectors - vectors.mean(axis=0)
    projected = featurizer.transform(train)[:, -4:]
    variances = np.linalg.svd(centred, compute_uv=False)[:4] ** 2
    np.testing.assert_allclose((projected.astype(float) ** 2).sum(axis=0), variances, rtol=1e-4)
    before = featurizer.feature_set_, featurizer.transform(train)
    featurizer.transform(held)
    assert featurizer.feature_set_ == before[0]
    np.testing.assert_array_equal(featurizer.transform(train), before[1])


def test_outcomes_are_never_looked_at(table):
    rng = np.random.default_rng(0)
    fields = ("quality", "cost", "latency", "output_tokens", "timestamp", "tasks")
    shuffled = replace(table, **{name: rng.permutation(getattr(table, name)) for name in fields})
    X = [RequestFeaturizer("tfidf", 5).fit(one).transform(one) for one in (table, shuffled)]
    np.testing.assert_array_equal(X[0], X[1])


@pytest.mark.parametrize(("embedder", "n_components"), KINDS)
def test_a_saved_featurizer_gives_the_same_features_under_the_same_digest(table, tmp_path, embedder, n_components):
    featurizer = RequestFeaturizer(embedder, n_components).fit(table)
    featurizer.save(tmp_path / "featurizer")
    back = RequestFeaturizer.load(tmp_path / "featurizer")
    np.testing.assert_array_equal(back.transform(table), featurizer.transform(table))
    assert (back.feature_set_, back.feature_names_) == (featurizer.feature_set_, featurizer.feature_names_)
    assert back.get_params() == featurizer.get_params() | {"providers": table.providers}


def test_a_saved_featurizer_of_a_table_without_text_comes_back(own, tmp_path):
    featurizer = RequestFeaturizer().fit(own)
    featurizer.save(tmp_path / "featurizer")
    back = RequestFeaturizer.load(tmp_path / "featurizer")
    np.testing.assert_array_equal(back.transform(own), featurizer.transform(own))


def test_the_digest_changes_when_and_only_when_the_meaning_does(table, own):
    def digest(data=table, **arguments):
        return RequestFeaturizer(**{"embedder": None} | arguments).fit(data).feature_set_

    same = [digest(), digest(seed=9), digest(table.take(np.arange(40)[::-1])), digest(providers=table.providers)]
    assert len(set(same)) == 1
    half = table.take(range(20))
    others = [
        digest(),
        digest(own),
        digest(providers=("nano", "mini")),
        digest(providers=("mini", "nano")),
        digest(embedder="wordllama"),
        digest(embedder=LetterEmbedder("a" * 256)),
        digest(embedder="wordllama", n_components=5),
        digest(half, embedder="wordllama", n_components=5),
        digest(embedder="tfidf"),
        digest(half, embedder="tfidf"),
    ]
    assert len(set(others)) == len(others)
    assert digest(embedder="wordllama") == digest(half, embedder="wordllama")


def test_the_digest_tells_vocabularies_of_one_shape_apart():
    def digest(*words):
        return RequestFeaturizer("tfidf").fit([LLMRequest(f"{a} {b}") for a in words for b in words]).feature_set_

    assert digest("blue", "fish", "red") != digest("blau", "fisch", "rot")


def test_an_embedder_of_ones_own_works_and_cannot_be_saved(table, tmp_path):
    featurizer = RequestFeaturizer(LetterEmbedder("aeiou"), n_components=2).fit(table)
    np.testing.assert_allclose(one_by_one(featurizer, table), featurizer.transform(table), atol=1e-5)
    with pytest.raises(RoutelabError, match=r"LetterEmbedder.* is not one of \['wordllama', 'tfidf'\]"):
        featurizer.save(tmp_path / "featurizer")
    assert not (tmp_path / "featurizer").exists()


def test_a_clone_is_unfitted_and_fits_alike(table):
    featurizer = RequestFeaturizer("tfidf", 3, seed=1).fit(table)
    copy = clone(featurizer)
    assert not hasattr(copy, "feature_names_")
    np.testing.assert_array_equal(copy.fit_transform(table), featurizer.transform(table))


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "got no requests"),
        ([LLMRequest("Hi"), LLMRequest("", features={"a": 1.0})], "some requests have a prompt and others none"),
        ([LLMRequest("", features={"a": 1.0}), LLMRequest("Hi")], "some requests have a prompt and others none"),
        ([LLMRequest("?"), LLMRequest("!")], "TF-IDF needs at least two different words"),
        ([LLMRequest("hello")] * 3, "TF-IDF needs at least two different words"),
        ([LLMRequest("one two"), LLMRequest("two three")], "n_components is 5; with 2 .* give a number from 1 to 2"),
    ],
)
def test_a_fit_without_enough_to_learn_from_is_refused(requests, message):
    with pytest.raises(RoutelabError, match=message):
        RequestFeaturizer("tfidf", n_components=5).fit(requests)


def test_what_the_training_requests_had_is_asked_of_every_request(own, table):
    described = RequestFeaturizer().fit(own)
    for call in (described.transform_one, lambda request: described.transform([request])):
        with pytest.raises(RoutelabError, match=r"lacks the feature 'age'; .* \(column x_age\)"):
            call(LLMRequest("Hi"))
    with pytest.raises(RoutelabError, match="has no prompt, but the featurizer was fitted on prompts"):
        RequestFeaturizer(None).fit(table).transform_one(LLMRequest("", features={"age": 1.0}))


def test_an_unknown_embedder_is_refused(table):
    with pytest.raises(RoutelabError, match="embedder 'bert' is unknown; choose one of wordllama, tfidf"):
        RequestFeaturizer("bert").fit(table)


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embeddings_of_a_text_do_not_depend_on_its_company(table, name):
    texts = list(table.prompts)
    embedder = make_embedder(name).fit(texts)
    together = embedder.embed(texts * 4)
    assert together.shape == (160, embedder.dimension)
    np.testing.assert_allclose(np.vstack([embedder.embed([text]) for text in texts]), together[:40], atol=1e-6)


def test_wordllama_vectors_are_those_of_the_library_itself(table):
    texts = [*table.prompts, "", "naïve 🙂"]
    found = make_embedder("wordllama").embed(texts)
    import wordllama  # only now, or its import would set up the logging of this process

    library = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    np.testing.assert_allclose(found, library.embed(texts), atol=1e-6)


def test_like_texts_are_near_and_unknown_words_count_for_nothing():
    def likeness(embedder, *texts):
        a, b, c = (v / np.linalg.norm(v) for v in embedder.embed(texts))
        return a @ b, a @ c

    near, far = likeness(make_embedder("wordllama"), "a small dog", "a little puppy", "interest rates rise")
    assert near > far + 0.2
    tfidf = TfidfEmbedder(dimension=2).fit(["red fish", "blue fish", "red house", "blue house"])
    assert not tfidf.embed(["quantum", ""]).any()
    np.testing.assert_allclose(tfidf.embed(["red quantum"]), tfidf.embed(["red"]))


def test_wordllama_leaves_the_hosts_logging_alone():
    code = """
import logging, routelab.embedders as e
e.make_embedder("wordllama").embed(["Hi"])
root = logging.getLogger()
assert root.handlers == [] and root.level == logging.WARNING, (root.handlers, root.level)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
