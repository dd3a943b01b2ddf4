from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from routelab.errors import ParamsError
from routelab.params import load_params

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def write(folder: Path, field: str, value: Any) -> Path:
    """``params.yaml`` of this project with one field changed."""
    settings = copy.deepcopy(SETTINGS)
    *sections, name = field.split(".")
    section = settings
    for step in sections:
        section = section[step]
    section[name] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_the_settings_of_the_project_are_valid() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.model_dump() == SETTINGS


def test_size_picks_the_numbers_of_the_run(tmp_path: Path) -> None:
    small, full = (load_params(write(tmp_path, "size", size)) for size in ("small", "full"))
    assert small.sized(small.bandit.seeds) == SETTINGS["bandit"]["seeds"]["small"]
    assert full.sized(full.bandit.seeds) == SETTINGS["bandit"]["seeds"]["full"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "huge"),
        ("seed", -1),
        ("seed", 2**32),  # scikit-learn would fail later, with a traceback
        ("seed", 0.5),
        ("seed", True),
        ("sources", []),
        ("sources", ["nope"]),
        ("sources", ["azure_trace"]),  # a trace, no table
        ("sources", ["synthetic", "synthetic"]),
        ("sources", "synthetic"),
        ("synthetic_requests.small", 99),
        ("synthetic_requests.full", 0),
        ("train_fraction", 0.0),
        ("train_fraction", 1.0),
        ("train_fraction", float("nan")),
        ("features.embedder", "bert"),
        ("features.n_components", 0),
        ("features.n_components", 257),
        ("forest", None),
        ("forest.n_estimators", 0),
        ("forest.n_estimators", 2001),
        ("forest.min_samples_leaf", 0),
        ("forest.max_features", 0.0),
        ("forest.max_features", 1.01),
        ("forest.max_features", "log2"),
        ("classifier.n_estimators", 0),
        ("classifier.min_samples_leaf", 0),
        ("classifier.settings", 1),
        ("bandit.epsilon", -0.1),
        ("bandit.epsilon", 1.1),
        ("bandit.prior", 0.5),
        ("bandit.prior", float("inf")),
        ("bandit.settings", 33),
        ("bandit.seeds", 5),
        ("replay.scenarios", []),
        ("replay.scenarios", ["budget", "flood"]),
        ("replay.policies.small", ["forest"]),
        ("replay.seeds.small", 1),
        ("replay.budgets", [0.1]),
        ("replay.levels", 0),
        ("bandit.seeds.full", "20"),
        ("evaluation.settings", 33),
        ("evaluation.partitions", 0),
        ("evaluation.resamples.small", 1),
        ("evaluation.resamples.full", 49),
        ("forest.trees", 100),
        ("sneaky", 1),
    ],
)
def test_a_value_out_of_range_is_named_with_file_field_value_and_remedy(tmp_path: Path, field: str, value: Any) -> None:
    path = write(tmp_path, field, value)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {field} is {value!r}: ")
    assert message.endswith("change it and run again")
    assert "\n" not in message


def test_a_range_is_told_with_all_its_alternatives(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"max_features is 2.0: .* less than or equal to 1 or .*'sqrt'"):
        load_params(write(tmp_path, "forest.max_features", 2.0))
    with pytest.raises(ParamsError, match=r"sources is \['nope'\]: .*synthetic, paretobandit, .*routerbench"):
        load_params(write(tmp_path, "sources", ["nope"]))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "forest", {"n_estimators": 10, "max_features": "sqrt"})
    with pytest.raises(ParamsError, match=r"params.yaml: forest.min_samples_leaf: Field required; "):
        load_params(path)


def test_a_misspelt_section_is_told_by_its_own_name(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("\nforest:", "\nforst:"), encoding="utf-8")
    with pytest.raises(
        ParamsError, match=r"params.yaml: forst is \{'n_estimators': .*: Extra inputs are not permitted"
    ):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params.yaml is missing; run from the root of the project"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [b"a: [1, 2\nb: {", b"\xff\xfe\x00", b"seed: !!python/object/apply:os.getcwd []"])
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"params.yaml is no YAML: .*; mend it and run again$") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"- 1\n- 2\n", b"just text"])
def test_a_file_without_settings_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"params.yaml: the file as a whole: .*valid dictionary"):
        load_params(path)
