"""The files of the deployment, as far as they can be judged without running it (`make test-compose` runs it)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.visit_counter import REPOSITORY

FILES = sorted([REPOSITORY / "docker-compose.yml", *(REPOSITORY / "deploy").rglob("*.yml")])
PLAIN = "docker-compose.yml"
STACKS = ([PLAIN], [PLAIN, "deploy/compose.ha.yml"], [PLAIN, "deploy/compose.tls.yml"])


class StrictLoader(yaml.SafeLoader):
    """Takes Compose's own tags (`!override`), and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _value in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(names) == len(set(names)), f"a key is given twice{node.start_mark}"
        return super().construct_mapping(node, deep)


def _untagged(loader: StrictLoader, _tag: str, node: yaml.Node) -> Any:  # whatever is tagged
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


StrictLoader.add_multi_constructor("!", _untagged)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_every_file_is_yaml_without_a_key_given_twice(file: Path) -> None:
    """A second key would silently replace the first."""
    assert yaml.load(file.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506  # a SafeLoader


@pytest.mark.parametrize("files", STACKS, ids=lambda files: files[-1])
def test_compose_can_read_its_files(files: list[str], tmp_path: Path) -> None:
    """Alone, and with each file that goes over it."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run(
            [docker, "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no `docker compose` on this machine")
    for name in ("certificate", "key"):
        (tmp_path / name).touch()
    environment = {
        "PATH": str(Path(docker).parent),
        "HOME": str(tmp_path.home()),
        "VISIT_COUNTER_TLS_CERTIFICATE": str(tmp_path / "certificate"),
        "VISIT_COUNTER_TLS_KEY": str(tmp_path / "key"),
    }
    argv = [docker, "compose", *(part for file in files for part in ("-f", file)), "config", "-q"]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_is_made_with_the_uv_that_the_project_uses() -> None:
    """Two places name its release."""
    script = (REPOSITORY / "scripts" / "environment.sh").read_text(encoding="utf-8")
    recipe = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (used,) = re.findall(r"^UV_VERSION=(\S+)", script, re.MULTILINE)
    (built_with,) = re.findall(r"^ARG UV_VERSION=(\S+)", recipe, re.MULTILINE)
    assert built_with == used
