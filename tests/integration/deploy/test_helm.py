"""The Helm chart: what it renders is what was agreed on, fits Kubernetes' schemas, and is what the services themselves can read."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.runtime.settings import load_configuration
from tests.support.helm import (
    CHART,
    KUBERNETES_VERSIONS,
    HelmError,
    Manifest,
    check_models,
    check_schema,
    helm,
    render,
)
from tests.support.visit_counter import REPOSITORY

pytestmark = pytest.mark.helm

CASES = Path(__file__).parent / "helm"
NAMES = ("minimal", "secret", "full")
UPDATE = "VISIT_COUNTER_UPDATE_GOLDENS"
"""Set, the goldens are written anew: look at what changed before it is committed."""

OTHERS = frozenset({"ServiceMonitor", "PrometheusRule", "ScaledObject"})
"""Kinds that operators bring along: Kubernetes itself has no schema of theirs."""

RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
DASHBOARDS = REPOSITORY / "deploy" / "grafana" / "dashboards"
COMPONENTS = ("ingest", "aggregator", "api")

MINIMAL: dict[str, Any] = yaml.safe_load((CASES / "minimal.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def rendered(name: str, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(CASES / f"{name}.yaml", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(CASES / "full.yaml", tmp_path_factory.mktemp("helm"))


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Yield the specification of every pod."""
    for one in manifests:
        if one["kind"] == "Deployment":
            yield one["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            yield one["spec"]


def test_lint(name: str) -> None:
    """Helm finds nothing to mend, strictly."""
    helm("lint", "--strict", "--quiet", CHART, "--values", CASES / f"{name}.yaml")


def test_goldens(name: str, rendered: list[Manifest]) -> None:
    """Every object is as it was agreed on; rules and dashboards are held to their sources below."""
    agreed = CASES / f"{name}.golden.yaml"
    text = yaml.dump_all(
        sorted(
            (one for one in rendered if not is_copied(one)),
            key=lambda one: (one["kind"], one["metadata"]["name"]),
        ),
        Dumper=Readable,
        allow_unicode=True,
        width=140,
    )
    if UPDATE in os.environ:
        agreed.write_text(text, encoding="utf-8")
    assert text == agreed.read_text(encoding="utf-8"), f"if it is meant: {UPDATE}=1 make test-helm"


class Readable(yaml.SafeDumper):
    """Writes texts of several lines as such."""


Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def is_copied(manifest: Manifest) -> bool:
    """Claim that an object holds a file of the repository as it is."""
    return manifest["kind"] == "PrometheusRule" or "-dashboard-" in manifest["metadata"]["name"]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_objects_fit_kubernetes_schemas(rendered: list[Manifest], version: str) -> None:
    """Of the oldest and the newest Kubernetes: no field is unknown, misplaced or of another type."""
    kinds = set()
    for one in rendered:
        if one["kind"] not in OTHERS:
            check_schema(one, version)
            kinds.add(one["kind"])
    assert {"Deployment", "Service", "ConfigMap"} <= kinds


def test_objects_fit_their_operators_schemas(full: list[Manifest]) -> None:
    """What KEDA and the Prometheus operator are given: nothing that is needed is missing, nothing of another type; the check can fail."""
    others = [one for one in full if one["kind"] in OTHERS]
    assert {one["kind"] for one in others} == OTHERS
    check_models(others)
    scaled = next(one for one in others if one["kind"] == "ScaledObject")
    for changed in ({"maxReplicaCount": "many"}, {"triggers": None}):
        with pytest.raises(AssertionError, match="ScaledObject"):
            check_models([scaled | {"spec": scaled["spec"] | changed}])


def test_a_schema_refuses_what_is_wrong(rendered: list[Manifest]) -> None:
    """The check can fail: a field that is misspelt, and one of another type."""
    (first, *_) = of_kind(rendered, "Deployment").values()
    for changed in ({"replica": 2}, {"replicas": "two"}):
        with pytest.raises(Exception, match="replica"):
            check_schema(first | {"spec": first["spec"] | changed}, KUBERNETES_VERSIONS[-1])


def test_pods_are_restricted(rendered: list[Manifest]) -> None:
    """Pod Security Standards, "restricted", and more: nothing of the cluster's is mounted, nothing can be written but /tmp."""
    for pod in pods(rendered):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "memory" in container["resources"]["limits"]
            writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
            assert writable == ["/tmp"]


def test_probes_ask_the_right_question(rendered: list[Manifest]) -> None:
    """Alive and ready are different: a log that is away must not restart anybody."""
    for one in of_kind(rendered, "Deployment").values():
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_services_read_what_was_rendered(
    rendered: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and variables of a pod make the configuration that the values say."""
    maps = of_kind(rendered, "ConfigMap")
    folder = tmp_path / "sites"
    folder.mkdir()
    for file, text in maps["counter-visit-counter-sites"]["data"].items():
        (folder / file).write_text(text, encoding="utf-8")
    text = maps["counter-visit-counter-config"]["data"]["visit-counter.toml"]
    config = tmp_path / "visit-counter.toml"
    config.write_text(text.replace("/etc/visit-counter-sites", str(folder)), encoding="utf-8")
    pod = next(pods(rendered))
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    if not any(v["name"] == "VISIT_COUNTER_LOG__URL" for v in pod["containers"][0]["env"]):
        # As the secret has them.
        monkeypatch.setenv("VISIT_COUNTER_LOG__URL", "kafka://kafka:9092/page-views")
        monkeypatch.setenv("VISIT_COUNTER_STORE__URL", "redis://:secret@redis:6379/0")
    found = load_configuration(config, year=2026)
    assert not found.declared.faults
    assert found.settings.server.metrics_port == 9090
    sites = {file.removesuffix(".toml") for file in maps["counter-visit-counter-sites"]["data"]}
    assert set(found.sites) == sites


def test_values_arrive_as_they_were_said(full: list[Manifest]) -> None:
    """Numbers stay numbers, and quotes, angles and letters of Vietnamese survive YAML, JSON and TOML."""
    maps = of_kind(full, "ConfigMap")
    config = tomllib.loads(maps["counter-visit-counter-config"]["data"]["visit-counter.toml"])
    assert config["store"] == {"bucket_minutes": 30, "max_pages": 100_000}
    assert type(config["store"]["bucket_minutes"]) is int
    assert config["aggregator"] == {"dead_ratio_max": 0.05}
    site = tomllib.loads(maps["counter-visit-counter-sites"]["data"]["thanhxuan.toml"])
    assert site["name"] == 'Cổng "thông tin" \\ <điện tử> & quận'


def test_a_new_site_restarts_nobody(tmp_path: Path) -> None:
    """Sites are read again as they change; another setting needs new processes."""

    def pod_of(values: dict[str, Any]) -> Manifest:
        deployments = of_kind(render(MINIMAL | values, tmp_path), "Deployment")
        found: Manifest = deployments["counter-visit-counter-ingest"]["spec"]["template"]
        return found

    before = pod_of({})
    assert pod_of({"sites": MINIMAL["sites"] | {"caugiay": {}}}) == before
    assert pod_of({"config": {"logging": {"level": "error"}}}) != before


def test_aggregators_are_no_more_than_partitions(full: list[Manifest], tmp_path: Path) -> None:
    """KEDA's maximum is capped, and is the partitions where nothing was said; what scales takes no fixed number of replicas."""
    (scaled,) = of_kind(full, "ScaledObject").values()
    assert scaled["spec"]["maxReplicaCount"] == 12
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["bootstrapServers"] == "kafka-0.data:9092,kafka-1.data:9092"
    assert trigger["metadata"]["topic"] == "page-views"
    for deployment in of_kind(full, "Deployment").values():
        assert "replicas" not in deployment["spec"]
    (default,) = of_kind(
        render(MINIMAL | {"keda": {"enabled": True}}, tmp_path), "ScaledObject"
    ).values()
    assert default["spec"]["maxReplicaCount"] == 16


def test_the_ingress_hides_what_is_the_operators(full: list[Manifest]) -> None:
    """Writing goes to ingest, the rest of the contract to the api; /metrics and /readyz to nobody."""
    (ingress,) = of_kind(full, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    ways = {
        way["path"]: way["backend"]["service"]["name"].rpartition("-")[2]
        for way in rule["http"]["paths"]
    }
    assert ways == {
        "/v1/sites/[a-z0-9-]+/deltas": "ingest",
        "/v1/views": "ingest",
        "/v1/views.gif": "ingest",
        "/v1/batches": "ingest",
        "/v1": "api",
        "/widget": "api",
        "/embed": "api",
        "/sites": "api",
    }
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "7200"


def test_the_network_is_closed(full: list[Manifest]) -> None:
    """Each component has a policy for both ways; only ingest and aggregator reach the log, nobody calls the aggregator."""
    policies = of_kind(full, "NetworkPolicy")
    assert {name.rpartition("-")[2] for name in policies} == set(COMPONENTS)
    for name, policy in policies.items():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        out = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert (9092 in out) == (not name.endswith("-api"))
        doors = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert doors == ({"metrics"} if name.endswith("-aggregator") else {"http", "metrics"})


def test_rules_and_dashboards_are_their_sources(full: list[Manifest]) -> None:
    """Word for word what Prometheus and Grafana of Compose have: the chart has no copies of its own."""
    copied = [one for one in full if is_copied(one)]
    rules = {
        one["metadata"]["name"].removeprefix("counter-visit-counter-"): one["spec"]
        for one in copied
        if one["kind"] == "PrometheusRule"
    }
    assert rules == {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in RULES.glob("*.yml")
    }
    dashboards = {file: text for one in copied for file, text in one.get("data", {}).items()}
    assert dashboards == {
        file.name: file.read_text(encoding="utf-8") for file in DASHBOARDS.glob("*.json")
    }
    for one in copied:
        found = one["metadata"]["labels"]
        wanted = "release" if one["kind"] == "PrometheusRule" else "grafana_dashboard"
        assert wanted in found


def test_jobs_are_named_as_in_compose(full: list[Manifest]) -> None:
    """The label from which `job` is taken has the components' names."""
    (monitor,) = of_kind(full, "ServiceMonitor").values()
    label = monitor["spec"]["jobLabel"]
    services = of_kind(full, "Service").values()
    assert {one["metadata"]["labels"][label] for one in services} == set(COMPONENTS)
    assert all(any(p["name"] == "metrics" for p in one["spec"]["ports"]) for one in services)


def test_the_versions_agree() -> None:
    """The chart's default image is the release's."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == project["project"]["version"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 3}, "replica"),
        ({"log": {"url": "sqlite:x.db"}}, "log"),
        ({"log": {"url": ""}}, "log.url is empty"),
        ({"store": {"url": ""}}, "store.url is empty"),
        ({"log": {"url": "kafka://k:9092/t", "partitions": 0}}, "partitions"),
        ({"store": {"url": "memcached://x"}}, "store"),
        ({"sites": {"Thanh_Xuan": {}}}, "Thanh_Xuan"),
        ({"config": {"servers": {}}}, "servers"),
        ({"trustedProxies": ["*"]}, "trustedProxies"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"ingest": {"replicas": 0}}, "replicas"),
        ({"ingest": {"autoscaling": {"targetCPUPercent": 200}}}, "targetCPUPercent"),
        ({"ingress": {"enabled": True}}, "host"),
        ({"aggregator": {"autoscaling": {"enabled": True}}}, "autoscaling"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    """What the schema does not know, or what cannot work, stops before anything is installed; the message names it."""
    with pytest.raises(HelmError, match=words):
        render(MINIMAL | values, tmp_path)
