"""The classifier learns the best recorded label; the opponents do exactly the simple thing that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from routelab import LLMRequest, Objective, RequestFeaturizer
from routelab.errors import PolicyError, RoutelabError
from routelab.policies import (
    POLICIES,
    FixedPolicy,
    ForestClassifierPolicy,
    MeansPolicy,
    OraclePolicy,
    Policy,
    RandomPolicy,
    RulePolicy,
    load_policy,
)
from routelab.policies.forest_classifier import best_labels
from routelab.request import request_values

NAN = np.nan
Q = np.array([[0.9, 0.5, 0.7], [0.2, 0.8, 0.8], [NAN, 0.3, 0.1], [NAN, NAN, 1.0], [NAN, NAN, NAN]])
C = np.where(np.isnan(Q), NAN, [0.03, 0.01, 0.02])
NAMES = sorted(POLICIES)
RNG = np.random.default_rng(0)
ARGUMENTS = {"forest": {"n_estimators": 3, "n_jobs": 1}, "forest-classifier": {"n_estimators": 3, "n_jobs": 1}}


def halves(n: int = 300):
    """Arm 0 is best where x0 < ½, arm 2 elsewhere, arm 1 never; arm 2 is the dearest."""
    X = np.random.default_rng(0).random((n, 7)).astype(np.float32)
    quality = np.where(X[:, :1] < 0.5, [[0.9, 0.5, 0.2]], [[0.1, 0.5, 1.0]])
    return X, quality, np.tile([0.01, 0.02, 0.03], (n, 1))


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        (Objective(), [0, 1, 1, -1, -1]),
        (Objective(cost_weight=25.0), [1, 1, 1, -1, -1]),
        (Objective(min_quality=0.6, cost_weight=1e6), [2, 1, 1, -1, -1]),
        (Objective(max_cost=0.02), [2, 1, 1, -1, -1]),
        (Objective(max_cost=0.001), [1, 1, 1, -1, -1]),
    ],
)
def test_the_label_is_the_best_observed_arm_under_the_objective(objective, labels):
    assert best_labels(Q, C, None, objective).tolist() == labels


def test_a_missing_latency_takes_an_arm_out_only_where_latency_counts():
    quality, cost = np.array([[0.9, 0.8, 0.1]] * 2), np.zeros((2, 3))
    latency = np.array([[1.0, 3.0, 1.0], [NAN, 3.0, 1.0]])
    assert best_labels(quality, cost, latency, Objective()).tolist() == [0, 0]
    assert best_labels(quality, cost, np.full((2, 3), NAN), Objective(cost_weight=1.0)).tolist() == [0, 0]
    assert best_labels(quality, cost, latency, Objective(latency_weight=0.2)).tolist() == [0, 1]
    assert best_labels(quality, cost, latency, Objective(max_latency=2.0)).tolist() == [0, 2]
    with pytest.raises(RoutelabError, match="train on latency_s"):
        best_labels(quality, cost, None, Objective(max_latency=2.0))


def test_the_classifier_predicts_what_scikit_learns_would_on_the_labelled_prompts():
    X = np.random.default_rng(0).random((400, 5)).astype(np.float32)
    quality = np.random.default_rng(1).random((400, 3)) * X[:, :3]
    quality[np.random.default_rng(2).random((400, 3)) < 0.4] = NAN
    cost = np.where(np.isnan(quality), NAN, 0.01)
    options = {"n_estimators": 25, "min_samples_leaf": 5, "n_jobs": 1}
    policy = ForestClassifierPolicy(**options).fit(X, quality, cost)
    labels = best_labels(quality, cost, None, Objective())
    forest = RandomForestClassifier(random_state=0, **options).fit(X[labels >= 0], labels[labels >= 0])
    found = policy.action_probabilities(X, Objective())
    assert policy.labelled_ == (labels >= 0).sum() < 400
    np.testing.assert_array_equal(found.sum(axis=1), 1.0)
    votes = forest.predict_proba(X)
    decided = np.ptp(np.sort(votes, axis=1)[:, -2:], axis=1) > 1e-6
    np.testing.assert_array_equal(found.argmax(axis=1)[decided], forest.predict(X)[decided])


def test_the_classifier_serves_the_trade_off_of_its_labels_and_no_other():
    X, quality, cost = halves()
    policy = ForestClassifierPolicy(Objective(cost_weight=1.0), n_estimators=10, max_features=1.0).fit(X, quality, cost)
    objective = Objective(cost_weight=1.0)
    arms = policy.action_probabilities(X, objective).argmax(axis=1)
    assert (arms == np.where(X[:, 0] < 0.5, 0, 2)).mean() > 0.97
    choice = policy.select(X[0], objective, RNG)
    assert (choice.arm, choice.propensity) == (arms[0], 1.0)
    for call in (policy.action_probabilities, lambda X, o: policy.select(X[0], o, RNG)):
        with pytest.raises(PolicyError, match=r"fitted for Objective\(cost_weight=1.0.*fit another one for"):
            call(X, Objective(cost_weight=2.0))
    cheap = Objective(cost_weight=1e6)
    copy = clone(policy).set_params(objective=cheap).fit(X, quality, cost)  # one label only
    assert copy.action_probabilities(X, cheap).argmax(axis=1).tolist() == [0] * 300
    np.testing.assert_allclose(copy.predict(X[:1]).quality, quality.mean(axis=0, keepdims=True))


def test_a_classifier_without_any_comparison_is_refused():
    quality = np.array([[0.5, NAN], [NAN, 0.6]])
    with pytest.raises(PolicyError, match="no prompt was answered by two providers"):
        ForestClassifierPolicy(n_estimators=2).fit(np.zeros((2, 1)), quality, quality / 10)


def test_the_same_arguments_give_the_same_classifier_file(tmp_path):
    for folder, jobs in (("one", 1), ("two", 2)):
        ForestClassifierPolicy(n_estimators=10, n_jobs=jobs).fit(*halves()).save(tmp_path / folder)
    assert (tmp_path / "one" / "model.onnx").read_bytes() == (tmp_path / "two" / "model.onnx").read_bytes()


def test_fixed_takes_the_named_provider_or_the_best_in_training():
    X, quality, cost = halves()
    names = ("a", "b", "c")
    best = FixedPolicy().fit(X, quality, cost, providers=names)
    named = FixedPolicy("b").fit(X, quality, cost, providers=names)
    assert (best.arm_, named.arm_) == (2, 1)
    for objective in (Objective(), Objective(cost_weight=1e9), Objective(max_cost=0.0)):
        assert best.action_probabilities(X, objective)[:, 2].all()
    with pytest.raises(PolicyError, match="'d' is unknown; the policy has a, b, c"):
        FixedPolicy("d").fit(X, quality, cost, providers=names).select(X[0], Objective(), RNG)


def test_means_follow_the_objective_over_observed_cells():
    policy = MeansPolicy().fit(np.zeros((5, 1)), Q, C)
    np.testing.assert_allclose(policy.predict(np.zeros((2, 1))).quality, [[0.55, 1.6 / 3, 0.65]] * 2)
    weights = (Objective(), Objective(cost_weight=100.0), Objective(max_cost=0.02), Objective(min_quality=0.6))
    arms = [int(policy.select(np.zeros(1), objective, RNG).arm) for objective in weights]
    assert arms == [2, 1, 2, 2]
    assert policy.predict(np.zeros((1, 1))).latency is None


def test_random_is_uniform_and_says_so():
    policy = RandomPolicy().fit(*halves())
    rng = np.random.default_rng(1)
    choices = [policy.select(np.zeros(7), Objective(), rng) for _ in range(6000)]
    assert {choice.propensity for choice in choices} == {1 / 3}
    np.testing.assert_allclose(np.bincount([choice.arm for choice in choices]) / 6000, 1 / 3, atol=0.02)


def test_the_rule_sends_harder_requests_to_dearer_providers():
    cost = np.array([[0.5, 0.1, 0.9, 0.3]])
    policy = RulePolicy().fit(np.zeros((1, 6)), np.full((1, 4), 0.5), cost)
    requests = [
        LLMRequest("Hi", estimated_complexity=0.0, requires_reasoning=False),
        LLMRequest("Hi", estimated_complexity=0.5, requires_reasoning=False),  # difficulty 0.3
        LLMRequest("Hi", estimated_complexity=0.7, requires_reasoning=False, user_tier="premium"),  # 0.52
        LLMRequest("Hi", estimated_complexity=0.75, requires_reasoning=True),  # 0.75
        LLMRequest("Hi", estimated_complexity=1.0, requires_reasoning=True, user_tier="premium"),  # 1: the last rank
    ]
    X = np.array([request_values(request) for request in requests])
    assert policy.action_probabilities(X, Objective()).argmax(axis=1).tolist() == [1, 3, 0, 2, 2]
    assert [policy.select(x, Objective(), RNG).arm for x in X] == [1, 3, 0, 2, 2]


def test_the_oracle_earns_the_most_and_knows_only_its_own_prompts(tmp_path):
    rng = np.random.default_rng(3)
    X, quality, cost, latency = rng.random((50, 2)), rng.random((50, 3)), rng.random((50, 3)), rng.random((50, 3))
    oracle = OraclePolicy().fit(X, quality, cost, latency)
    for objective in (Objective(), Objective(0.5), Objective(0.5, 0.5), Objective(min_quality=0.5, cost_weight=2.0)):
        earned = (oracle.action_probabilities(X, objective) * objective.scores(quality, cost, latency).clip(-9)).sum(1)
        np.testing.assert_array_equal(earned, objective.scores(quality, cost, latency).max(axis=1))
    with pytest.raises(PolicyError, match="knows only the prompts it was fitted on"):
        oracle.predict(X[:10])
    with pytest.raises(PolicyError, match="nothing to save"):
        oracle.save(tmp_path / "oracle")
    with pytest.raises(PolicyError, match="the oracle needs every outcome"):
        OraclePolicy().fit(np.zeros((5, 1)), Q, C)
    latency[7, 1] = NAN
    partly = OraclePolicy().fit(X, quality, cost, latency)
    assert partly.action_probabilities(X, Objective()).argmax(axis=1).tolist() == quality.argmax(axis=1).tolist()
    with pytest.raises(RoutelabError, match="not every latency is known"):
        partly.action_probabilities(X, Objective(latency_weight=0.1))


# The contract that a command line, a stage and a router rely on, for every policy that has a name.


def fitted(name: str) -> Policy:
    return POLICIES[name](**ARGUMENTS.get(name, {})).fit(*halves(60), providers=("a", "b", "c"))


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_is_named_clonable_and_unfitted_until_fit(name):
    policy = fitted(name)
    assert policy.providers_ == ("a", "b", "c")
    copy = clone(policy)
    assert copy.get_params().keys() == policy.get_params().keys()
    assert copy.providers_ == ()
    X = halves(4)[0]
    for call in (
        lambda: copy.predict(X),
        lambda: copy.action_probabilities(X, Objective()),
        lambda: copy.select(X[0], Objective(), RNG),
        lambda: copy.save("never-written"),
    ):
        with pytest.raises(PolicyError, match="is not fitted"):
            call()


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_gives_probabilities_and_a_propensity_that_is_one_of_them(name):
    policy, X = fitted(name), halves(60)[0]
    probabilities = policy.action_probabilities(X, Objective())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities >= 0.0).all()
    if name == "oracle":
        return
    choice = policy.select(X[0], Objective(), np.random.default_rng(0))
    assert choice.propensity == pytest.approx(probabilities[0, choice.arm])
    np.testing.assert_allclose(policy.propensities(X[0], Objective())(), probabilities[0], atol=1e-12)
    assert choice.estimates.quality.shape == (1, 3)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "oracle"])
def test_every_policy_comes_back_from_disk_as_what_it_was(name, tmp_path):
    policy, X = fitted(name), halves(60)[0]
    policy.save(tmp_path / "model")
    back = load_policy(tmp_path / "model")
    assert type(back) is type(policy)
    assert back.providers_ == policy.providers_
    for objective in (Objective(), Objective(5.0)):
        if name == "forest-classifier" and objective != Objective():
            continue
        expected = policy.action_probabilities(X, objective)
        np.testing.assert_array_equal(back.action_probabilities(X, objective), expected)
    np.testing.assert_array_equal(back.predict(X).quality, policy.predict(X).quality)


@pytest.mark.parametrize("name", [n for n in NAMES if POLICIES[n].update is Policy.update])
def test_a_policy_that_learns_by_fit_refuses_an_update(name):
    with pytest.raises(PolicyError, match="learns by `fit` only; use a bandit policy"):
        fitted(name).update(np.zeros(7), 0, 0.5)


@pytest.mark.parametrize("name", [n for n in NAMES if POLICIES[n].add_provider is Policy.add_provider])
def test_a_policy_that_cannot_change_its_arms_says_so(name):
    with pytest.raises(PolicyError, match="cannot add a provider; fit it again with 'd'"):
        fitted(name).add_provider("d")
    with pytest.raises(PolicyError, match="cannot remove 'a'; fit it again without"):
        fitted(name).remove_provider("a")


def test_the_rule_undoes_the_scaling_of_standardised_features_and_refuses_them_without():
    past = [LLMRequest(f"Prove that {n} is prime, or factor it.") for n in range(60)]
    past += [LLMRequest(f"What is {n}?", user_tier="premium") for n in range(60)]
    plain, scaled = (RequestFeaturizer(embedder=None, standardize=standard).fit(past) for standard in (False, True))
    cost = np.array([[0.01, 0.02, 0.03, 0.04]])
    arguments = np.zeros((1, 1)), np.full((1, 4), 0.5), cost
    asked = [*past, LLMRequest("What is a monad?"), LLMRequest("Why? " * 300)]
    expected = RulePolicy().fit(*arguments).action_probabilities(plain.transform(asked), Objective())
    assert expected.sum(axis=0).astype(bool).sum() >= 2
    undoing = RulePolicy(scaled.scaling_.tolist()).fit(*arguments)
    np.testing.assert_array_equal(undoing.action_probabilities(scaled.transform(asked), Objective()), expected)
    with pytest.raises(PolicyError, match=r"give it the scaling of a featurizer that standardises"):
        RulePolicy().fit(*arguments).action_probabilities(scaled.transform(asked), Objective())
