"""scikit-learn forests as ONNX graphs: a few microseconds a row, and a model file that runs no code."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.errors import PolicyError
from routelab.policies.outcomes import checked


def to_onnx(forest: Any, width: int) -> bytes:
    """Serialise a fitted forest over ``width`` float32 features; the same forest gives the same bytes."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options = {id(forest): {"zipmap": False}} if hasattr(forest, "classes_") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter speaks of deprecations inside its own libraries
        graph = convert_sklearn(
            forest, "forest", [("x", FloatTensorType([None, width]))], options=options, target_opset=17
        )
    serialised: bytes = graph.SerializeToString(deterministic=True)
    return serialised


def second_moments(graph: bytes, outputs: int) -> bytes:
    """The graph of the mean over trees of the squared values, for the first ``outputs`` outputs of a regression.

    Together with the mean it gives the variance between the trees.
    """
    import onnx

    model = onnx.load_from_string(graph)
    node = next(node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")
    held = {attribute.name: attribute for attribute in node.attribute}
    trees = 1 + max(held["nodes_treeids"].ints)
    kept = np.asarray(held["target_ids"].ints) < outputs
    for name in ("target_ids", "target_nodeids", "target_treeids"):
        values = np.asarray(held[name].ints)[kept].tolist()
        del held[name].ints[:]
        held[name].ints.extend(values)
    weights = np.asarray(held["target_weights"].floats, dtype=np.float64)[kept]  # of one tree, divided by their number
    del held["target_weights"].floats[:]
    held["target_weights"].floats.extend((trees * weights**2).tolist())
    held["n_targets"].i = outputs
    model.graph.output[0].type.tensor_type.shape.Clear()
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


class OnnxForest:
    """A forest answered by ONNX Runtime on one thread.

    Args:
        graph: bytes of ``to_onnx``.

    Raises:
        PolicyError: the bytes are no graph that ONNX Runtime can run.
    """

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # multi-output forests print a shape warning for every call
        try:
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise PolicyError(f"the ONNX graph cannot be read ({error}); save the model again") from None
        self.width = int(session.get_inputs()[0].shape[1])
        self._run = session.run
        self._output = [session.get_outputs()[-1].name]

    def __call__(self, X: Any) -> NDArray[np.float32]:
        """Values (n, outputs) for features (n, width): regression outputs, or the probabilities of the classes.

        Raises:
            PolicyError: the features have another width, or one is not finite.
        """
        values: NDArray[np.float32] = self._run(self._output, {"x": checked(X, self.width)})[0]
        return values
