"""The chart as Helm renders it, and Kubernetes' schemas; `scripts/helm-tools.sh` installs what is needed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.process import ProcessError
from tests.support.visit_counter import REPOSITORY

CHART = REPOSITORY / "deploy" / "helm" / "visit-counter"
KUBERNETES_VERSIONS = ("1.29", "1.37")
"""The oldest that Chart.yaml names, and the newest there are schemas of."""

COMMAND_SECONDS = 60

Manifest = dict[str, Any]


CHECK_MODELS = REPOSITORY / "tests" / "integration" / "deploy" / "helm" / "models" / "check.mjs"


class Tools(NamedTuple):
    """Where Helm, Kubernetes' schemas and those of its operators are."""

    helm: Path
    schemas: Path
    models: Path


class HelmError(AssertionError):
    """Helm refused; the message is what it said."""


@cache
def tools() -> Tools:
    """Return what is installed."""
    done = subprocess.run(
        [REPOSITORY / "scripts" / "helm-tools.sh", "--print"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProcessError(done.stderr)
    return Tools(*map(Path, done.stdout.splitlines()[-3:]))


def helm(*arguments: str | Path) -> str:
    """Run Helm and return what it printed.

    Raises:
        HelmError: it refused.
    """
    done = subprocess.run(
        [tools().helm, *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def render(values: Path | Mapping[str, Any], folder: Path) -> list[Manifest]:
    """Return the objects of a release `counter` in the namespace `portal`.

    Args:
        values: a file, or what stands in one.
        folder: for files.
    """
    if not isinstance(values, Path):
        file = folder / "values.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        values = file
    text = helm(
        *("template", "counter", CHART, "--namespace", "portal", "--values", values),
        *("--kube-version", f"{KUBERNETES_VERSIONS[-1]}.0"),
    )
    return [document for document in yaml.safe_load_all(text) if document]


def check_schema(manifest: Manifest, version: str) -> None:
    """Hold an object against Kubernetes' own strict schema: unknown fields are refused.

    Raises:
        Exception: of the validator; says what is wrong.
    """
    path = str(tools().schemas)
    if path not in sys.path:
        sys.path.append(path)
    importlib.import_module("kubernetes_validate").validate(manifest, version, strict=True)


def check_models(manifests: list[Manifest]) -> None:
    """Hold objects of KEDA and the Prometheus operator against their schemas; these let unknown fields pass.

    Raises:
        AssertionError: says what is wrong.
    """
    done = subprocess.run(
        ["node", CHECK_MODELS, tools().models],
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
