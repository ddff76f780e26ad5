"""The target: where the stack is and how to log in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from loadgen.config.access import Access, Proxied, Url, login_moved
from loadgen.config.base import from_file
from loadgen.model import Component
from loadgen.settings import Seconds, Section


class Login(Access):
    """How to log in and whom to trust. TLS certificates are verified unless that is turned off by name."""

    user: str = Field("", description="with password; a login in a URL of the section is moved here")
    password: SecretStr = SecretStr("")
    password_file: str = ""
    bearer_token: SecretStr = SecretStr("")
    bearer_token_file: str = ""
    tenant: str = Field("", description="sent as X-Scope-OrgID when set")

    urls: ClassVar[tuple[str, ...]] = ("url", "query_url", "otlp_http", "otlp_grpc")

    @model_validator(mode="before")
    @classmethod
    def _login_of_urls(cls, raw: Any) -> Any:
        return login_moved(raw, cls.urls, "user", "password")

    @model_validator(mode="after")
    def _one_way(self) -> Login:
        if self.user and (self.bearer_token.get_secret_value() or self.bearer_token_file):
            raise ValueError("both user and bearer_token are given; choose one")
        return self

    def secret_password(self) -> str:
        """The password, from its file if one is named."""
        return from_file(self.password_file) if self.password_file else self.password.get_secret_value()

    def secret_token(self) -> str:
        """The bearer token, from its file if one is named."""
        return from_file(self.bearer_token_file) if self.bearer_token_file else self.bearer_token.get_secret_value()

    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown; ConfigError when a file cannot be read."""
        return (*super().secrets(), self.secret_password(), self.secret_token())

    def has_login(self) -> bool:
        """Whether this section makes an Authorization header of its own."""
        return bool(self.user or self.bearer_token_file or self.bearer_token.get_secret_value())


class StoreTarget(Login):
    """A component that stores signals. Every address is empty where the target names none."""

    query_url: Url = ""
    datasource: str = ""
    engine: str = "deployed"

    @property
    def push_address(self) -> str:
        """Where data goes; of several ways in one that is named."""
        return ""

    @property
    def read_address(self) -> str:
        """The base of its own queries, without Grafana."""
        return self.query_url

    @property
    def metrics_address(self) -> str:
        """The base that its ``/metrics`` hang under."""
        return self.query_url

    @property
    def http_address(self) -> str:
        """Where it answers plain HTTP, whatever it is asked."""
        return self.push_address


class LokiTarget(StoreTarget):
    """``[loki]``: ``url`` is the base that ``/loki/api/v1/push`` hangs under."""

    url: Url = ""
    query_url: Url = Field("", description="for reading without Grafana; not set: the same as url")
    datasource: str = "loki"

    @property
    def push_address(self) -> str:
        """Where lines go."""
        return self.url

    @property
    def read_address(self) -> str:
        """The base of its own queries."""
        return self.query_url or self.url

    @property
    def metrics_address(self) -> str:
        """The base that its ``/metrics`` hang under."""
        return self.read_address


class TempoTarget(StoreTarget):
    """``[tempo]``: where OTLP goes, and where queries go without a Grafana."""

    otlp_http: Url = Field("", description="base that /v1/traces hangs under, e.g. http://tempo:4318")
    otlp_grpc: Url = Field("", description="host:port, e.g. tempo:4317; https:// in front for TLS")
    query_url: Url = ""
    datasource: str = "tempo"

    @property
    def push_address(self) -> str:
        """Where spans go, by HTTP or else by gRPC."""
        return self.otlp_http or self.otlp_grpc

    @property
    def http_address(self) -> str:
        """Where it answers plain HTTP."""
        return self.query_url or self.otlp_http


class MimirTarget(StoreTarget):
    """``[mimir]``: ``url`` is the base that ``/api/v1/push`` and ``/prometheus`` hang under."""

    url: Url = ""
    query_url: Url = Field("", description="base of the Prometheus API; not set: <url>/prometheus")
    datasource: str = "mimir"

    @property
    def push_address(self) -> str:
        """Where samples go."""
        return self.url

    @property
    def read_address(self) -> str:
        """The base of the Prometheus API."""
        return self.query_url or (self.url.rstrip("/") + "/prometheus" if self.url else "")

    @property
    def metrics_address(self) -> str:
        """The base that its ``/metrics`` hang under."""
        return self.url


class GrafanaTarget(Login):
    """``[grafana]``."""

    url: Url = ""
    org_id: int = Field(0, ge=0, description="sent as X-Grafana-Org-Id when set; not set: the login's own organisation")
    engine: str = "deployed"


class S3Login(Section):
    """``[s3.loki]``, ``[s3.tempo]``, ``[s3.mimir]``: what a component itself uses; for `loadgen check`."""

    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    secret_access_key_file: str = ""
    session_token: SecretStr = Field(SecretStr(""), description="of a temporary credential (STS)")
    session_token_file: str = ""

    def secret_key(self) -> str:
        """The secret key, from its file if one is named."""
        if self.secret_access_key_file:
            return from_file(self.secret_access_key_file)
        return self.secret_access_key.get_secret_value()

    def secret_session_token(self) -> str:
        """The session token, from its file if one is named."""
        return from_file(self.session_token_file) if self.session_token_file else self.session_token.get_secret_value()


class S3Target(S3Login, Access):
    """``[s3]``: a credential that may list and read is enough."""

    endpoint: Url = ""
    region: str = Field("", description="not set: us-east-1, or the one that S3 names when it refuses that")
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="path: host/bucket; virtual: bucket.host; auto: path, but where it is known to be refused"
    )
    loki_bucket: str = "loki-chunks"
    tempo_bucket: str = "tempo-traces"
    mimir_bucket: str = "mimir-blocks"
    loki_prefix: str = Field("", description="Loki's storage_config.object_prefix, when it has one")
    tempo_prefix: str = Field("", description="Tempo's storage.trace.s3.prefix, when it has one")
    mimir_prefix: str = Field("", description="Mimir's blocks_storage.storage_prefix, when it has one")
    poll: Seconds = Field(2.0, gt=0, description="time between two listings")
    reports_url: Url = Field("", description="s3://bucket/prefix that runs are kept under; needs Write there")
    loki: S3Login = S3Login()
    tempo: S3Login = S3Login()
    mimir: S3Login = S3Login()
    engine: str = "deployed"

    reserved_headers: ClassVar[Mapping[str, str]] = {
        **Access.reserved_headers,
        "authorization": "use access_key_id and secret_access_key",
        "x-amz-security-token": "use session_token",
    }

    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown; ConfigError when a file cannot be read."""
        return (*super().secrets(), self.secret_key(), self.secret_session_token())

    def of(self, component: Component) -> S3Target | None:
        """The same S3 with the component's own credential; None when the target does not have it."""
        login: S3Login = getattr(self, component.value)
        if not login.access_key_id:
            return None
        return self.model_copy(update={name: getattr(login, name) for name in S3Login.model_fields})

    def bucket(self, component: Component) -> str:
        """The bucket of a component."""
        name: str = getattr(self, f"{component}_bucket")
        return name

    def prefix(self, component: Component) -> str:
        """What a component's keys begin with, without slashes around it; empty if it is not known."""
        prefix: str = getattr(self, f"{component}_prefix")
        return prefix.strip("/")


class PrometheusTarget(Login):
    """``[prometheus]``: the Prometheus that scrapes the cluster and writes to Mimir, for `loadgen check`."""

    url: Url = ""


class KubernetesTarget(Proxied):
    """``[kubernetes]``: where the pods of the stack are. In a pod its service account is used, else the kubeconfig."""

    namespace: str = Field("", description="the only one that is ever looked into or touched; not set: no cluster")
    kubeconfig: str = ""
    context: str = ""


class Target(Section):
    """A whole target. ``via`` says whether reading goes through Grafana or to the components themselves."""

    name: str = "stack"
    via: Literal["grafana", "direct"] = "grafana"
    loki: LokiTarget = LokiTarget()
    tempo: TempoTarget = TempoTarget()
    mimir: MimirTarget = MimirTarget()
    grafana: GrafanaTarget = GrafanaTarget()
    s3: S3Target = S3Target()
    prometheus: PrometheusTarget = PrometheusTarget()
    kubernetes: KubernetesTarget = KubernetesTarget()

    def engines(self) -> dict[str, str]:
        """What each component is: embedded, native, compose or deployed."""
        return {str(component): getattr(self, component.value).engine for component in Component}

    def store(self, component: Component) -> StoreTarget:
        """The section of a component that stores signals."""
        section: StoreTarget = getattr(self, component.value)
        return section

    def without_secrets(self) -> dict[str, Any]:
        """What may be stored of it; reading it back gives a target whose secrets come from the environment."""
        return _shown(self)


def _shown(section: BaseModel) -> dict[str, Any]:
    """A section without anything that is a secret by its type, whatever its name is."""
    shown = section.model_dump(mode="json")
    for name in list(shown):
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            shown[name] = _shown(value)
        elif isinstance(value, (SecretStr, Mapping)):
            del shown[name]
    return shown
