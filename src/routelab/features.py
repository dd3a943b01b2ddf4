"""Requests to numbers: what a router knows of a request before any provider answered it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from routelab.bundle import Bundle, read_bundle, write_bundle
from routelab.embedders import EMBEDDERS, Embedder, make_embedder
from routelab.errors import PolicyError, RoutelabError
from routelab.lexical import LEXICAL_NAMES, lexical_counts
from routelab.reduction import Matrix, column_scaling, principal_components
from routelab.request import REQUEST_NAMES, LLMRequest, request_values
from routelab.tables.table import PerformanceTable


class RequestFeaturizer(TransformerMixin, BaseEstimator):
    """Features of requests: the request itself, load of each provider, lexical counts, own ``x_…``, an embedding.

    The layout is fixed by ``fit``: six request columns, one load slot per provider, twelve lexical counts, the user's
    own numbers and the embedding (the last but one only where requests carry them, text features only where there is
    text). Outcomes are never looked at.

    Args:
        embedder: "wordllama", "tfidf", None for none, or any ``Embedder``.
        n_components: reduce the embedding by a PCA fitted on the training prompts; None keeps it whole.
        providers: names of the load slots; empty takes those of the table given to ``fit``.
        seed: of the PCA's solver.
        standardize: centre each column on the training requests and divide it by its standard deviation there (the
            embedding as a whole by that of its widest dimension), as linear policies like it. A column that never
            varied becomes 0.

    Attributes:
        providers_: names of the load slots (k,).
        feature_names_: names of the columns (p,).
        feature_set_: short digest of everything that fixes the columns' meaning.
        background_: (m, p) features of at most 64 training requests, with which explanations compare a request.

    >>> featurizer = RequestFeaturizer(embedder=None, providers=("small", "large"))
    >>> requests = [LLMRequest("Why?"), LLMRequest("Prove that 7 is prime.")]
    >>> featurizer.fit_transform(requests).shape
    (2, 20)
    >>> float(featurizer.transform_one(requests[0], {"large": 3.0})[7])
    3.0
    """

    def __init__(
        self,
        embedder: str | Embedder | None = "wordllama",
        n_components: int | None = None,
        providers: Sequence[str] = (),
        seed: int = 0,
        standardize: bool = False,
    ) -> None:
        self.embedder = embedder
        self.n_components = n_components
        self.providers = providers
        self.seed = seed
        self.standardize = standardize

    def fit(self, X: PerformanceTable | Sequence[LLMRequest], y: None = None) -> Self:
        """Fix the columns from the training requests.

        Raises:
            RoutelabError: no request is given, or some have text and others none.
        """
        requests = _requests(X)
        if not requests:
            raise RoutelabError("RequestFeaturizer.fit got no requests; give at least one")
        self.providers_ = tuple(self.providers) or tuple(getattr(X, "providers", ()))
        self.own_names_ = tuple(requests[0].features)
        texts = [request.prompt for request in requests]
        self.has_text_ = bool(texts[0].strip())
        if any(bool(text.strip()) != self.has_text_ for text in texts):
            raise RoutelabError("some requests have a prompt and others none; give each its text, or leave all out")
        self.embedder_ = make_embedder(self.embedder) if isinstance(self.embedder, str) else self.embedder
        if not self.has_text_:
            self.embedder_ = None
        self.mean_: Matrix | None = None
        self.components_: Matrix | None = None
        if self.embedder_ is not None:
            self.embedder_.fit(texts)
            if self.n_components is not None:
                vectors = self.embedder_.embed(texts)
                self.mean_, self.components_ = principal_components(vectors, self.n_components, self.seed)
        self.scaling_: Matrix | None = None
        self._name_columns()
        if self.standardize:
            self.scaling_ = column_scaling(self.transform(X), self.width_before_embedding_)
            self._name_columns()
        rows = sample_rows(len(requests), self.seed)
        sample = X.take(rows) if isinstance(X, PerformanceTable) else [requests[row] for row in rows]
        self.background_ = self.transform(sample)
        return self

    def _scaled(self, raw: Matrix) -> Matrix:
        return raw if self.scaling_ is None else (raw - self.scaling_[0]) * self.scaling_[1]

    def _name_columns(self) -> None:
        names = [*REQUEST_NAMES, *(f"load_{name}" for name in self.providers_)]
        if self.has_text_:
            names += LEXICAL_NAMES
        names += [f"x_{name}" for name in self.own_names_]
        self.width_before_embedding_ = len(names)
        if self.embedder_ is not None:
            size = self.embedder_.dimension if self.components_ is None else len(self.components_)
            names += [f"embedding_{i:03d}" for i in range(size)]
        self.feature_names_ = tuple(names)
        meta = {} if self.embedder_ is None else _state(self.embedder_)[0]
        digest = hashlib.sha256(json.dumps([type(self.embedder_).__name__, names, meta], sort_keys=True).encode())
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        self.feature_set_ = digest.hexdigest()[:12]

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Names of the columns, (p,) object array."""
        check_is_fitted(self, "feature_names_")
        return np.asarray(self.feature_names_, dtype=object)

    def transform(self, X: PerformanceTable | Sequence[LLMRequest], load: NDArray[Any] | None = None) -> Matrix:
        """Features (n, p) float32.

        Args:
            X: a table, or n requests.
            load: (n, slots) load of each provider of ``providers_``; a table brings its own; None means no load.

        Raises:
            RoutelabError: a request lacks text or numbers that the training requests had.
        """
        check_is_fitted(self, "feature_names_")
        requests = _requests(X)
        out = np.zeros((len(requests), len(self.feature_names_)), dtype=np.float32)
        start, stop = len(REQUEST_NAMES), self.width_before_embedding_
        after = start + len(self.providers_)
        for row, request in enumerate(requests):
            out[row, :start] = request_values(request)
            out[row, after:stop] = self._surface(request)
        if (slots := self._table_load(X) if load is None else load) is not None:
            out[:, start:after] = slots
        if self.embedder_ is not None:
            out[:, stop:] = self._embed([request.prompt for request in requests])
        return self._scaled(out)

    def transform_one(self, request: LLMRequest, load: Mapping[str, float] | None = None) -> Matrix:
        """Features (p,) float32 of one request, given the load of each provider by name: the decision path."""
        out = np.zeros(len(self.feature_names_), dtype=np.float32)
        start, stop = len(REQUEST_NAMES), self.width_before_embedding_
        after = start + len(self.providers_)
        out[:start] = request_values(request)
        if load:
            out[start:after] = [load.get(name, 0.0) for name in self.providers_]
        out[after:stop] = self._surface(request)
        if self.embedder_ is not None:
            out[stop:] = self._embed([request.prompt])[0]
        return self._scaled(out)

    def _surface(self, request: LLMRequest) -> tuple[float, ...]:
        if self.has_text_ and not request.prompt.strip():
            raise RoutelabError("a request has no prompt, but the featurizer was fitted on prompts; give its text")
        counts = lexical_counts(request.prompt) if self.has_text_ else ()
        if not self.own_names_:
            return counts
        try:
            return (*counts, *(request.features[name] for name in self.own_names_))
        except KeyError as missing:
            raise RoutelabError(
                f"a request lacks the feature {missing}; give it in LLMRequest.features (column x_{missing.args[0]})"
            ) from None

    def _embed(self, texts: Sequence[str]) -> Matrix:
        assert self.embedder_ is not None
        vectors = self.embedder_.embed(texts)
        if self.components_ is None or self.mean_ is None:
            return vectors
        return np.asarray((vectors - self.mean_) @ self.components_.T, dtype=np.float32)

    def _table_load(self, X: PerformanceTable | Sequence[LLMRequest]) -> Matrix | None:
        if not isinstance(X, PerformanceTable):
            return None
        load, known = X.load(), {name: j for j, name in enumerate(X.providers)}
        columns = [load[:, known[name]] if name in known else np.zeros(len(load)) for name in self.providers_]
        return np.column_stack(columns).astype(np.float32) if columns else None

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {} if self.embedder_ is None else _state(self.embedder_)[1]
        fitted = {"pca_mean": self.mean_, "pca_components": self.components_, "scaling": self.scaling_}
        return arrays | {name: array for name, array in fitted.items() if array is not None}

    def save(self, path: str | Path) -> None:
        """Write the fitted featurizer to the folder ``path``; own embedder objects are the caller's to keep."""
        check_is_fitted(self, "feature_names_")
        name = next((key for key, cls in EMBEDDERS.items() if type(self.embedder_) is cls), None)
        if self.embedder_ is not None and name is None:
            raise RoutelabError(f"embedder {self.embedder_!r} is not one of {list(EMBEDDERS)}; it cannot be saved")
        meta = {
            "embedder": name,
            "n_components": self.n_components,
            "providers": list(self.providers_),
            "own_names": list(self.own_names_),
            "has_text": self.has_text_,
            "seed": self.seed,
            "standardize": self.standardize,
            "embedder_meta": {} if self.embedder_ is None else _state(self.embedder_)[0],
        }
        write_bundle(path, Bundle(type(self).__name__, meta, self._arrays() | {"background": self.background_}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a featurizer that ``save`` wrote.

        Raises:
            PolicyError: the folder is missing, damaged, of an older routelab, or holds something else.
        """
        bundle = read_bundle(path, cls.__name__)
        meta, arrays = bundle.meta, dict(bundle.arrays)
        if "background" not in arrays:
            raise PolicyError(f"{path} was saved by an older routelab; fit and save the featurizer again")
        settings = meta["embedder"], meta["n_components"], tuple(meta["providers"]), meta["seed"]
        self = cls(*settings, meta.get("standardize", False))
        self.providers_, self.own_names_ = tuple(meta["providers"]), tuple(meta["own_names"])
        self.has_text_, self.background_ = meta["has_text"], arrays.pop("background")
        self.mean_, self.components_ = arrays.pop("pca_mean", None), arrays.pop("pca_components", None)
        self.scaling_ = arrays.pop("scaling", None)
        self.embedder_ = None if meta["embedder"] is None else make_embedder(meta["embedder"])
        if self.embedder_ is not None:
            self.embedder_.restore(meta["embedder_meta"], arrays)
        self._name_columns()
        return self


def sample_rows(n: int, seed: int) -> NDArray[np.intp]:
    """At most 64 of ``n`` rows, drawn without replacement, in ascending order: the background of explanations."""
    return np.sort(np.random.default_rng(seed).choice(n, min(n, 64), replace=False))


def _requests(X: PerformanceTable | Sequence[LLMRequest]) -> Sequence[LLMRequest]:
    return X.requests() if isinstance(X, PerformanceTable) else X


def _state(embedder: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    state: tuple[dict[str, Any], dict[str, NDArray[Any]]] = embedder.state() if hasattr(embedder, "state") else ({}, {})
    return state
