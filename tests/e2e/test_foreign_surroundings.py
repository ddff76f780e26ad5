"""A run in a foreign environment, with every secret that a target can have: the verdicts hold, and no secret shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted import Reply, Request, scripted
from workplace import Workplace

pytestmark = pytest.mark.e2e
SHORT = str(Path(__file__).parent / "short.toml")
SECRETS = {
    "loki_header": "s3cret-loki-header",
    "loki_token": "s3cret-loki-token",
    "tempo_password": "s3cret-tempo/p@ss",
    "mimir_proxy": "s3cret-mimir-proxy",
    "s3_header": "s3cret-s3-header",
}
NOWHERE = "http://127.0.0.1:9"
FOREIGN = {
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "grpc_proxy"), NOWHERE),
    "NO_PROXY": "",
    "no_proxy": "",
    "AWS_PROFILE": "homelab",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_CA_BUNDLE": "/nowhere",
    "REQUESTS_CA_BUNDLE": "/nowhere",
}


def deployed(lab: Workplace, folder: Path) -> tuple[Path, list[str]]:
    """The lab as a target of which every section has secrets, in each way that they can be given; and these."""
    at = json.loads(lab.run("loadgen", "lab", "status", "--json").stdout)
    key = at["s3"]["credentials"]["loadgen"]
    password = at["grafana"]["password"]
    grafana = at["grafana"]["url"].replace("//", f"//{at['grafana']['user']}:{password}@")
    (folder / "headers").write_text(f"X-Access: {SECRETS['loki_header']}\n")
    (folder / "target.toml").write_text(
        f"""
name = "deployed"
[loki]
url = "{at["loki"]["url"]}"
bearer_token = "{SECRETS["loki_token"]}"
headers_file = "{folder / "headers"}"
[tempo]
otlp_http = "{at["otlp_http"]["url"].replace("//", "//me:s3cret-tempo%2Fp%40ss@")}"
otlp_grpc = "{at["otlp_grpc"]["url"]}"
[mimir]
url = "{at["mimir"]["url"]}"
proxy_user = "me"
proxy_password = "{SECRETS["mimir_proxy"]}"
[grafana]
url = "{grafana}"
[s3]
endpoint = "{at["s3"]["url"]}"
access_key_id = "{key["access_key"]}"
secret_access_key = "{key["secret_key"]}"
headers = {{ X-Access = "{SECRETS["s3_header"]}" }}
loki_bucket = "{at["s3"]["bucket_of"]["loki"]}"
tempo_bucket = "{at["s3"]["bucket_of"]["tempo"]}"
mimir_bucket = "{at["s3"]["bucket_of"]["mimir"]}"
"""
    )
    return folder / "target.toml", [*SECRETS.values(), "s3cret-tempo%2Fp%40ss", password, key["secret_key"]]


def shown(run: Path, *texts: str) -> dict[str, bytes]:
    files = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    return files | {f"output {number}": text.encode() for number, text in enumerate(texts)}


def test_no_secret_of_its_target_is_in_any_output_of_a_run(lab: Workplace, tmp_path: Path) -> None:
    target, secrets = deployed(lab, tmp_path)
    done = lab.run("loadgen", "run", "--profile", SHORT, "--target", str(target), "--out", "secrets", **FOREIGN)
    assert done.returncode == 0, done.stdout + done.stderr
    run = lab.path / "secrets"
    again = lab.run("loadgen", "report", "secrets", **FOREIGN)
    outputs = shown(run, done.stdout, done.stderr, again.stdout, again.stderr)
    assert "run.json" in outputs and "report.html" in outputs and "locust.log" in outputs
    assert [(name, secret) for name, text in outputs.items() for secret in secrets if secret.encode() in text] == []


def test_a_server_that_repeats_the_secrets_does_not_bring_them_into_an_output(lab: Workplace, tmp_path: Path) -> None:
    target, secrets = deployed(lab, tmp_path)

    def echo(request: Request) -> Reply:
        sent = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        return Reply(400, sent.encode(), {"Content-Type": "text/plain"})

    with scripted(answer=echo) as server:
        urls = {f"LOADGEN_{name}": server.url for name in ("LOKI_URL", "TEMPO_OTLP_HTTP", "MIMIR_URL", "S3_ENDPOINT")}
        urls["LOADGEN_GRAFANA_URL"] = server.url.replace("//", "//admin:s3cret-in-a-url@")
        texts: list[str] = []
        for command in ("run", "check"):
            profile = ("--profile", SHORT) if command == "run" else ()
            done = lab.run("loadgen", command, *profile, "--target", str(target), **urls, LOADGEN_DEBUG="1")
            assert done.returncode == 2 or command == "check", done.stdout + done.stderr
            texts += [done.stdout, done.stderr]
    secrets = [*secrets, "s3cret-in-a-url"]
    assert "400" in texts[0] + texts[1]
    assert [secret for secret in secrets for text in texts if secret in text] == []
