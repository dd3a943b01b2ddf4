"""Models on disk: a folder of JSON, flat arrays and ONNX, checked by sha256, written whole or not at all. No pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import pack
from routelab.errors import PolicyError

FORMAT = 1
_MANIFEST = "bundle.json"
_SEAL = "sha256_of_manifest"


@dataclass(frozen=True)
class Bundle:
    """What a saved model consists of.

    Args:
        kind: name of the class that was saved.
        meta: JSON-able settings and names.
        arrays: flat arrays, stored in one ``.npz``.
        onnx: a serialised ONNX graph, or None.
    """

    kind: str
    meta: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    onnx: bytes | None = None


def _files(bundle: Bundle) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if bundle.arrays:
        files["arrays.npz"] = pack(bundle.arrays)
    if bundle.onnx is not None:
        files["model.onnx"] = bundle.onnx
    return files


def _seal(manifest: Mapping[str, Any]) -> str:
    """Digest of the manifest itself, so that a changed name or setting shows as well as a changed array."""
    content = {key: value for key, value in manifest.items() if key != _SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write ``bundle`` as the folder ``path``, replacing an older bundle there only once the new one is complete.

    Raises:
        PolicyError: ``path`` holds something that is not a bundle.
    """
    path = Path(path)
    if path.exists() and not (path / _MANIFEST).is_file() and any(path.iterdir() if path.is_dir() else [path]):
        raise PolicyError(f"{path} exists and is no saved model; choose another path or remove it")
    files = _files(bundle)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = {"format": FORMAT, "kind": bundle.kind, "meta": bundle.meta, "sha256": digests}
    manifest[_SEAL] = _seal(manifest)
    files[_MANIFEST] = (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        folder = staging / "new"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if path.exists():
            os.replace(path, staging / "old")
        try:
            os.replace(folder, path)
        except OSError:
            if (staging / "old").exists():
                os.replace(staging / "old", path)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_bundle(path: str | Path, kind: str | None = None) -> Bundle:
    """Read the bundle at ``path`` and check it.

    Args:
        path: folder written by ``write_bundle``.
        kind: class name expected, or None for any.

    Raises:
        PolicyError: the folder is missing, of another kind or version, truncated or tampered with.
    """
    path = Path(path)
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        version, found = manifest["format"], manifest["kind"]
        digests, meta, seal = manifest["sha256"], manifest["meta"], manifest[_SEAL]
    except (FileNotFoundError, NotADirectoryError):
        raise PolicyError(f"{path} holds no {_MANIFEST}; give the folder that `save` wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{path / _MANIFEST} is damaged ({error}); save the model again") from None
    if version != FORMAT:
        raise PolicyError(f"{path} has format {version!r}, this routelab reads {FORMAT}; fit and save the model again")
    if seal != _seal(manifest):
        raise PolicyError(f"{path / _MANIFEST} does not match its sha256; it was changed, save the model again")
    if kind is not None and found != kind:
        raise PolicyError(f"{path} holds a {found}, not a {kind}; load it with {found}.load")
    contents = {}
    for name, digest in digests.items():
        file = path / name
        if name != Path(name).name or not file.is_file():
            raise PolicyError(f"{file} is missing; save the model again")
        contents[name] = file.read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise PolicyError(f"{file} does not match its sha256; it is truncated or changed, save the model again")
    arrays: dict[str, NDArray[Any]] = {}
    if "arrays.npz" in contents:
        with np.load(io.BytesIO(contents["arrays.npz"]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    return Bundle(found, meta, arrays, contents.get("model.onnx"))
