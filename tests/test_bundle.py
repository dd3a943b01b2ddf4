"""A saved model comes back as it was, or is refused with one clear error; no pickle, and no half-written folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from routelab import LLMRequest, RequestFeaturizer
from routelab.arrays import pack
from routelab.bundle import Bundle, read_bundle, write_bundle
from routelab.errors import PolicyError
from routelab.policies import FixedPolicy, ThompsonPolicy, load_policy

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2], dtype=np.int8)}
BUNDLE = Bundle("Thing", {"names": ["x", "ü"], "number": 0.1}, ARRAYS, b"\x00graph")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", BUNDLE)
    return tmp_path / "model"


def test_a_bundle_comes_back_as_it_was_written(saved):
    back = read_bundle(saved, "Thing")
    assert (back.kind, back.meta, back.onnx) == (BUNDLE.kind, BUNDLE.meta, BUNDLE.onnx)
    assert back.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype


def test_the_same_bundle_gives_the_same_bytes(saved, tmp_path):
    write_bundle(tmp_path / "again", BUNDLE)
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_bundle_without_arrays_or_graph_is_one_file(tmp_path):
    write_bundle(tmp_path / "model", Bundle("Thing", {}))
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["bundle.json"]
    assert read_bundle(tmp_path / "model").arrays == {}


def test_writing_again_replaces_the_whole_folder_and_leaves_nothing_beside_it(saved):
    write_bundle(saved, Bundle("Thing", {"new": True}))
    assert read_bundle(saved).meta == {"new": True}
    assert [file.name for file in saved.iterdir()] == ["bundle.json"]
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    "unwritable", [Bundle("Thing", {"x": float("nan")}), Bundle("Thing", {}, {"o": np.array([None], object)})]
)
def test_a_bundle_that_cannot_be_written_leaves_the_old_one_whole(saved, unwritable):
    with pytest.raises(ValueError, match=r"Out of range float|Object arrays"):
        write_bundle(saved, unwritable)
    assert read_bundle(saved).meta == BUNDLE.meta
    assert list(saved.parent.iterdir()) == [saved]


def test_other_files_are_never_overwritten(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "notes", tmp_path / "file"):
        with pytest.raises(PolicyError, match="exists and is no saved model"):
            write_bundle(path, BUNDLE)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(manifest | changes))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: cut(f / "arrays.npz"), "arrays.npz does not match its sha256"),
        (lambda f: (f / "model.onnx").write_bytes(b"\x01graph"), "model.onnx does not match its sha256"),
        (lambda f: (f / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda f: cut(f / "bundle.json"), "bundle.json is damaged"),
        (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe"), "bundle.json is damaged"),
        (lambda f: (f / "bundle.json").write_text("[1]"), "bundle.json is damaged"),
        (lambda f: edit(f, meta={"names": ["ü", "x"], "number": 0.1}), "bundle.json does not match its sha256"),
        (lambda f: edit(f, sha256={}), "bundle.json does not match its sha256"),
        (lambda f: edit(f, format=99), "has format 99, this routelab reads 1"),
        (lambda f: edit(f, kind="Other"), "bundle.json does not match its sha256"),
        (lambda f: (f / "bundle.json").unlink(), "holds no bundle.json"),
    ],
)
def test_a_damaged_bundle_is_refused_by_name(saved, damage, message):
    damage(saved)
    with pytest.raises(PolicyError, match=message) as caught:
        read_bundle(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_bundle_is_refused(tmp_path, saved):
    for path in (tmp_path / "nothing", saved / "bundle.json"):
        with pytest.raises(PolicyError, match=r"holds no bundle.json; give the folder that `save` wrote"):
            read_bundle(path)


def test_a_model_loads_only_as_what_it_is(tmp_path):
    ThompsonPolicy().add_provider("a").save(tmp_path / "bandit")
    RequestFeaturizer(embedder=None, providers=("a",)).fit([LLMRequest("Hi")]).save(tmp_path / "features")
    with pytest.raises(PolicyError, match=r"holds a ThompsonPolicy, not a FixedPolicy; load it with ThompsonPolicy"):
        FixedPolicy.load(tmp_path / "bandit")
    with pytest.raises(PolicyError, match="holds a ThompsonPolicy, not a RequestFeaturizer"):
        RequestFeaturizer.load(tmp_path / "bandit")
    with pytest.raises(PolicyError, match="'RequestFeaturizer' is no policy"):
        load_policy(tmp_path / "features")
    assert isinstance(load_policy(tmp_path / "bandit"), ThompsonPolicy)


def test_an_unfitted_policy_is_not_saved(tmp_path):
    with pytest.raises(PolicyError, match="ThompsonPolicy is not fitted"):
        ThompsonPolicy().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_replacement_that_fails_leaves_the_old_bundle(tmp_path, monkeypatch):
    write_bundle(tmp_path / "model", Bundle("Old", {}))
    replace, calls = os.replace, []

    def full_disk(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_bundle(tmp_path / "model", Bundle("New", {}))
    assert read_bundle(tmp_path / "model").kind == "Old"


def test_the_same_arrays_give_the_same_bytes_on_every_python() -> None:
    packed = pack({"x": np.arange(6, dtype=np.float32).reshape(2, 3), "name": np.array(["a", "bc"])}, compressed=False)
    assert hashlib.sha256(packed).hexdigest()[:16] == "bcec4c094e1a207c"
