"""Text embedders: a prompt in, a vector out. Any object with ``fit``, ``embed`` and ``dimension`` will do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError

Matrix = NDArray[np.float32]
_BATCH = 256


class Embedder(Protocol):
    """What ``RequestFeaturizer`` needs of an embedder."""

    @property
    def dimension(self) -> int:
        """Length of one vector."""

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from the training texts what the embedder needs; pretrained ones learn nothing."""

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed ``n`` texts into (n, dimension) float32, each independently of the others."""


@lru_cache(maxsize=1)
def _wordllama() -> tuple[Any, Matrix]:
    """Tokenizer and token vectors (vocabulary, 256) that ship in wordllama's wheel; nothing is downloaded."""
    from pathlib import Path

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    # importing wordllama calls logging.basicConfig(INFO); a library must not change its host's logging
    root.handlers[:] = handlers
    root.setLevel(level)
    # its loader looks for the tokenizer in the cache folder only; the wheel itself has the same layout
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    model.tokenizer.no_padding()
    return model.tokenizer, model.embedding


def _encoded(tokenizer: Any, texts: Sequence[str]) -> Sequence[Any]:
    if len(texts) == 1:  # a batch is handed to other threads, which may have to wait for a core
        return [tokenizer.encode(texts[0], add_special_tokens=False)]
    encoded: Sequence[Any] = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return encoded


class WordLlamaEmbedder:
    """Mean of 256-dimensional static token vectors (wordllama ``l2_supercat_256``), no training, no network.

    Source: Miller, *WordLlama* (2024), token embeddings recycled from large language models.

    >>> WordLlamaEmbedder().embed(["What is the capital of France?"]).shape
    (1, 256)
    """

    dimension = 256

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn nothing: the vectors are pretrained."""
        return self

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed ``n`` texts into (n, 256); an empty text gives zeros."""
        tokenizer, vectors = _wordllama()
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            for row, encoding in enumerate(_encoded(tokenizer, texts[start : start + _BATCH]), start):
                ids = encoding.ids
                if ids:
                    out[row] = vectors[ids].sum(axis=0) / len(ids)
        return out

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Nothing to store."""
        return {}, {}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to restore."""


class TfidfEmbedder:
    """TF-IDF over words, reduced by a truncated SVD (latent semantic analysis): scikit-learn alone, learnt per table.

    Source: Deerwester et al., *Indexing by latent semantic analysis* (1990).

    Args:
        dimension: length of a vector; fewer where the training texts have fewer words.
        seed: of the randomised SVD.

    >>> TfidfEmbedder(dimension=2).fit(["red fish", "blue fish", "red house"]).embed(["red fish"]).shape
    (1, 2)
    """

    def __init__(self, dimension: int = 64, seed: int = 0) -> None:
        self.dimension = dimension
        self.seed = seed

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn vocabulary, weights and components from the training texts.

        Raises:
            RoutelabError: the texts hold fewer than two different words.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(max_features=20_000, sublinear_tf=True)
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError:  # not a single word
            matrix = np.empty((0, 0))
        if matrix.shape[1] < 2:
            raise RoutelabError("TF-IDF needs at least two different words in the prompts; use another embedder")
        self.dimension = min(self.dimension, matrix.shape[1] - 1, matrix.shape[0])
        svd = TruncatedSVD(self.dimension, random_state=self.seed).fit(matrix)
        self._use(vectorizer.get_feature_names_out().tolist(), vectorizer.idf_, svd.components_)
        return self

    def _use(self, words: list[str], idf: NDArray[Any], components: NDArray[Any]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(vocabulary=words, sublinear_tf=True)
        self._vectorizer.idf_ = idf
        self._words, self._components = words, components.astype(np.float32)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed ``n`` texts into (n, dimension); unknown words count for nothing."""
        vectors: Matrix = (self._vectorizer.transform(texts) @ self._components.T).astype(np.float32)
        return vectors

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Words, weights and components, without pickle."""
        return {"words": self._words}, {"idf": self._vectorizer.idf_, "components": self._components}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what ``state`` gave."""
        self._use(list(meta["words"]), arrays["idf"], arrays["components"])
        self.dimension = len(arrays["components"])


EMBEDDERS: dict[str, type[WordLlamaEmbedder] | type[TfidfEmbedder]] = {
    "wordllama": WordLlamaEmbedder,
    "tfidf": TfidfEmbedder,
}


def make_embedder(name: str) -> WordLlamaEmbedder | TfidfEmbedder:
    """Look an embedder up by name.

    Raises:
        RoutelabError: no embedder has that name.

    >>> make_embedder("wordllama").dimension
    256
    """
    if name not in EMBEDDERS:
        raise RoutelabError(f"embedder {name!r} is unknown; choose one of {', '.join(EMBEDDERS)}, or pass an object")
    return EMBEDDERS[name]()
