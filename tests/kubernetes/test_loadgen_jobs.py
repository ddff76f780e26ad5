"""The Jobs of loadgen: what they run, what they may do, and that their files are ones that loadgen reads."""

from __future__ import annotations

import copy
import itertools
import re
import shlex
from typing import Any

import pytest
import typer
from built_tree import TREE, Doc, build

from loadgen.cli.main import app
from loadgen.config import load_profile, load_target
from loadgen.history.archive import place_of
from loadgen.units import seconds

LOADGEN = TREE / "apps" / "monitoring" / "loadgen"
CONFIG = LOADGEN / "app" / "config"
CRONJOBS = {"loadgen", "loadgen-drill", "loadgen-check", "loadgen-verify"}


def objects(kind: str) -> dict[str, Doc]:
    return {doc["metadata"]["name"]: doc for doc in build(LOADGEN / "app") if doc["kind"] == kind}


def job_specs() -> dict[str, dict[str, Any]]:
    specs = {name: doc["spec"]["jobTemplate"]["spec"] for name, doc in objects("CronJob").items()}
    (job,) = build(LOADGEN / "run")
    return {**specs, "Flux's run": job["spec"]}


def pod_of(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = job_specs()[name]["template"]["spec"]
    return spec


def script_of(name: str) -> str:
    (container,) = pod_of(name)["containers"]
    assert container["command"] == ["/bin/sh", "-ec"]
    (script,) = container["args"]
    return str(script)


def commands() -> list[tuple[str, list[str]]]:
    """Every loadgen command of every Job, with its arguments."""
    found = []
    for name in job_specs():
        lines = [line.strip() for line in script_of(name).splitlines()]
        found += [(name, shlex.split(line)[2:]) for line in lines if line.startswith("exec loadgen ")]
    return found


def test_nothing_starts_by_itself() -> None:
    cronjobs = objects("CronJob")
    assert set(cronjobs) == CRONJOBS
    assert all(doc["spec"]["suspend"] is True for doc in cronjobs.values())
    assert all(doc["spec"]["concurrencyPolicy"] == "Forbid" for doc in cronjobs.values())


@pytest.mark.parametrize("name", sorted(job_specs()))
def test_the_exit_code_is_the_verdict_and_old_jobs_go(name: str) -> None:
    spec = job_specs()[name]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("name", sorted(job_specs()))
def test_pods_run_without_privileges(name: str) -> None:
    pod = pod_of(name)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mounts["/tmp"]["name"], mounts["/runs"]["name"]} == writable
    assert all(mount.get("readOnly") for path, mount in mounts.items() if mount["name"] not in writable)
    assert not any(volume.keys() & {"hostPath", "nfs"} for volume in pod["volumes"])


def test_only_the_check_and_the_drill_reach_the_cluster() -> None:
    tokens = {name: pod_of(name)["automountServiceAccountToken"] for name in job_specs()}
    assert {name for name, mounted in tokens.items() if mounted} == {"loadgen-check", "loadgen-drill"}
    for name in ("loadgen-check", "loadgen-drill"):
        assert pod_of(name)["serviceAccountName"] == name
    assert all(doc["automountServiceAccountToken"] is False for doc in objects("ServiceAccount").values())


def rights(role: str) -> set[tuple[str, str, str]]:
    rules = objects("Role")[role]["rules"]
    return {
        (resource, verb, name)
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ["*"])
    }


def test_the_roles_allow_what_is_needed_and_nothing_else() -> None:
    secrets = {("secrets", "get", f"{component}-s3-secret") for component in ("loki", "tempo", "mimir")}
    assert rights("loadgen-check") == secrets | {
        *(("pods", verb, "*") for verb in ("get", "list", "watch")),
        ("pods/log", "get", "*"),
        *((kind, verb, "*") for kind in ("helmreleases", "kustomizations") for verb in ("get", "list")),
    }
    assert rights("loadgen-drill") == {("pods", verb, "*") for verb in ("get", "list", "watch", "delete")}
    for binding in objects("RoleBinding").values():
        (subject,) = binding["subjects"]
        assert subject["name"] == binding["roleRef"]["name"] == binding["metadata"]["name"]
        assert subject["namespace"] == binding["metadata"]["namespace"] == "monitoring"


def test_a_run_is_one_job_of_a_master_and_its_workers() -> None:
    spec = job_specs()["loadgen"]
    (container,) = spec["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(env["LOADGEN_EXPECT_WORKERS"] or 0) + 1
    service = objects("Service")["loadgen-master"]["spec"]
    assert spec["template"]["spec"]["subdomain"] == "loadgen-master"
    assert service["clusterIP"] == "None"
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert service["ports"][0]["port"] == container["ports"][0]["containerPort"] == 5557
    assert '--master-host "$JOB_NAME-0.loadgen-master"' in script_of("loadgen")


def test_the_job_that_flux_starts_is_that_of_the_cronjob() -> None:
    (job,) = build(LOADGEN / "run")
    spec = copy.deepcopy(job["spec"])
    assert set(spec["template"]["metadata"].pop("annotations")) == {"loadgen.example.com/run"}
    assert spec == job_specs()["loadgen"]
    assert job["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/force": "enabled"}


def test_the_images_are_one_at_a_fixed_version() -> None:
    images = {pod_of(name)["containers"][0]["image"] for name in job_specs()}
    assert len(images) == 1
    assert re.fullmatch(r"registry\.example\.com/loadgen:\d+\.\d+\.\d+", images.pop())


@pytest.mark.parametrize(("name", "arguments"), commands(), ids=lambda value: str(value)[:40])
def test_every_command_is_one_that_loadgen_has(name: str, arguments: list[str]) -> None:
    command = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known
    for option in ("--wait", "--workers-wait", "--older-than", "--younger-than", "--s3-wait"):
        if option in arguments:
            assert seconds(arguments[arguments.index(option) + 1]) > 0


def test_the_profiles_and_the_target_are_valid_and_agree_with_the_jobs() -> None:
    load, drill = load_profile(CONFIG / "load.toml", env={}), load_profile(CONFIG / "drill.toml", env={})
    target = load_target(CONFIG / "target.toml", env={})
    for profile, name in ((load, "loadgen"), (drill, "loadgen-drill")):
        longest = profile.run.duration + profile.verify.s3_wait + profile.verify.patience
        assert longest + 1800 < job_specs()[name]["activeDeadlineSeconds"]
        assert profile.publish.metrics and profile.publish.annotation
        assert f"/etc/loadgen/{'load' if name == 'loadgen' else 'drill'}.toml" in script_of(name)
    assert not load.faults
    assert {fault.component for fault in drill.faults} == {"loki", "tempo", "mimir"}
    # Each has its five minutes before the next one falls.
    ends = [fault.at for fault in drill.faults] + [drill.run.duration]
    assert all(later - earlier > 300 for earlier, later in itertools.pairwise(ends))
    assert place_of(target.s3.reports_url)
    assert f"verify {target.s3.reports_url} " in script_of("loadgen-verify")
    assert target.kubernetes.namespace == "monitoring"


def test_secrets_come_from_the_environment_under_names_that_loadgen_reads() -> None:
    given = set(objects("Secret")["loadgen-secret"]["stringData"])
    given |= {one["name"] for one in pod_of("loadgen-check")["containers"][0]["env"] if "S3" in one["name"]}
    target = load_target(CONFIG / "target.toml", env=dict.fromkeys(given, "filled-in"))
    assert target.grafana.secret_token() == target.s3.access_key_id == target.s3.secret_key() == "filled-in"
    for login in (target.s3.loki, target.s3.tempo, target.s3.mimir):
        assert login.access_key_id == login.secret_key() == "filled-in"
    for path in CONFIG.iterdir():
        assert not re.search(r"(?m)^\s*(password|secret_access_key|bearer_token)\b", path.read_text())


def test_the_addresses_are_those_of_the_stack_beside_it() -> None:
    target = load_target(CONFIG / "target.toml", env={})
    datasources = (TREE / "apps" / "monitoring" / "grafana" / "app" / "helmrelease.yaml").read_text()
    for url in (target.loki.url, target.tempo.query_url, f"{target.mimir.url}/prometheus", target.prometheus.url):
        assert f"url: {url}\n" in datasources
    mimir = (TREE / "apps" / "monitoring" / "mimir" / "app" / "helmrelease.yaml").read_text()
    assert f"storage_prefix: {target.s3.mimir_prefix}\n" in mimir


def test_the_network_policy_covers_every_pod_of_loadgen() -> None:
    (policy,) = objects("NetworkPolicy").values()
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    for spec in job_specs().values():
        assert chosen.items() <= spec["template"]["metadata"]["labels"].items()


def test_a_master_that_waits_for_pods_listens_for_them_and_all_have_the_token_of_the_secret() -> None:
    (secret,) = objects("Secret").values()
    masters = [name for name, arguments in commands() if arguments[0] == "worker"]
    assert masters
    for name in masters:
        (run,) = (arguments for of, arguments in commands() if of == name and arguments[0] == "run")
        assert run[run.index("--bind-host") + 1] == "0.0.0.0"
        (container,) = pod_of(name)["containers"]
        assert {"secretRef": {"name": secret["metadata"]["name"]}} in container["envFrom"]
    assert "LOADGEN_WORKER_TOKEN" in secret["stringData"]
