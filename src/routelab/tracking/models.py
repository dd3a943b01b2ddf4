"""Models: a policy as MLflow serves it, and which of them is the champion."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from routelab.errors import RoutelabError
from routelab.tracking.store import EXPERIMENT, store_errors, use_store

if TYPE_CHECKING:
    import pandas as pd

# what serving a policy imports beside MLflow, which adds itself
_SERVING = ("numpy", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "wordllama")


def log_policy(policy: str | Path, featurizer: str | Path, example: pd.DataFrame) -> str:
    """Log a saved policy with its featurizer as a pyfunc model (models from code, no pickle); returns its URI.

    Args:
        policy: folder that ``Policy.save`` wrote.
        featurizer: folder that ``RequestFeaturizer.save`` wrote.
        example: requests as rows (column ``prompt`` and what else of the request is known), for the signature.
    """
    import mlflow

    from routelab import served_policy
    from routelab.features import RequestFeaturizer
    from routelab.policies import load_policy

    loaded = load_policy(policy)
    objective = served_policy.own_objective(loaded)
    answer = served_policy.answer(loaded, RequestFeaturizer.load(featurizer), example, objective)
    logged = mlflow.pyfunc.log_model(
        name="policy",
        python_model=served_policy.__file__,
        artifacts={"policy": str(policy), "featurizer": str(featurizer)},
        signature=mlflow.models.infer_signature(example, answer, params={"cost_weight": objective.cost_weight}),
        input_example=example,
        # the package is on no index: the model carries its source
        code_paths=[str(Path(__file__).parents[1])],
        pip_requirements=[f"{name}=={version(name)}" for name in _SERVING],
    )
    return str(logged.model_uri)


def promote(winner: str, loser: str, name: str = EXPERIMENT) -> dict[str, int]:
    """Let the winner of a test serve: alias ``champion`` goes to it, ``challenger`` to the loser.

    ``mlflow.pyfunc.load_model("models:/routelab@champion")`` loads whatever is champion now. Models that are not
    registered yet become versions of the registered model ``name``.

    Args:
        winner: URI of a logged model, as ``log_policy`` returned it or ``runs:/<run>/policy``.
        loser: the same of the other one.
        name: of the registered model.

    Returns:
        The version that each alias stands for.

    Raises:
        RoutelabError: a URI names no logged model, both name the same one, or the store cannot be used; no alias
            moves then.
    """
    import mlflow

    use_store()
    sources = [_logged(uri) for uri in (winner, loser)]
    if sources[0] == sources[1]:
        raise RoutelabError(f"{winner!r} and {loser!r} are the same model; give the winner and another as the loser")
    client = mlflow.MlflowClient()
    with store_errors():
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        held = {version.source: int(version.version) for version in client.search_model_versions(f"name='{name}'")}
        new = [source for source in sources if source not in held]
        held |= {source: int(client.create_model_version(name, source).version) for source in new}
    return _point(name, *(held[source] for source in sources))


def rollback(name: str = EXPERIMENT) -> dict[str, int]:
    """Swap the aliases: the loser of the last test serves again; a second call undoes the first.

    Returns:
        The version that each alias stands for.

    Raises:
        RoutelabError: nothing was promoted under ``name``, or the store cannot be used.
    """
    import mlflow

    use_store()
    with store_errors():
        found = mlflow.MlflowClient().search_registered_models(f"name='{name}'")
    held = found[0].aliases if found else {}
    if len({held.get("champion"), held.get("challenger")} - {None}) < 2:
        raise RoutelabError(f"model {name!r} has no champion beside a challenger; promote(winner, loser) first")
    return _point(name, int(held["challenger"]), int(held["champion"]))


def _logged(uri: str) -> str:
    """The one URI of a logged model, however it was named."""
    import mlflow

    if not (isinstance(uri, str) and uri.startswith(("models:/", "runs:/"))):  # MLflow would download from anywhere
        kind = uri.partition(":")[0] if isinstance(uri, str) else uri  # not all of it, which may hold a password
        raise RoutelabError(
            f"{kind!r} … is no logged model; give the URI that log_policy returned, or runs:/<run>/policy"
        )
    try:
        return str(mlflow.models.get_model_info(uri).model_uri)
    except mlflow.exceptions.MlflowException as error:
        told = str(error).splitlines()[0]
        raise RoutelabError(
            f"{uri!r} is no logged model ({told}); give the URI that log_policy returned, or runs:/<run>/policy"
        ) from error


def _point(name: str, champion: int, challenger: int) -> dict[str, int]:
    """Set both aliases; a store that fails in between leaves the old champion serving."""
    import mlflow

    client = mlflow.MlflowClient()
    with store_errors():
        client.set_registered_model_alias(name, "challenger", str(challenger))
        client.set_registered_model_alias(name, "champion", str(champion))
    return {"champion": champion, "challenger": challenger}
