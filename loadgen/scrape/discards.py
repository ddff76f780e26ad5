"""What the components count as discarded, by the reason that their counters give, and the setting behind each. Pure.

The reasons are those of Loki 3 (pkg/validation), Tempo 2 and 3 (modules/overrides), Mimir 2 and 3 (pkg/ingester and
pkg/distributor) and Cortex; Mimir writes some with dashes and some with underscores.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.model import Component
from loadgen.stores import STORES

COUNTERS = {store.component: store.discards for store in STORES}
"""The counter of a component; its label ``reason`` is what `Discard.reason` names."""
LABEL = "reason"


@dataclass(frozen=True, slots=True)
class Discard:
    """A reason to discard something.

    Attributes:
        component: whose.
        reason: as its counter says it.
        setting: what decides it; empty where it is no setting.
        silent: the push was answered with success all the same. What the others discard was refused, so a client
            knows of it.
        amount: it is a limit on how much, which more load runs into.
        advice: what to do, where that is not to raise the setting.
    """

    component: Component
    reason: str
    setting: str = ""
    silent: bool = False
    amount: bool = False
    advice: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.advice:
            return self.advice
        return f"raise {self.setting}" if self.setting else f"see {self.component}'s log for what it means"


def _amount(component: Component, reason: str, setting: str, silent: bool = False) -> Discard:
    return Discard(component, reason, setting, silent, amount=True)


def _bad(component: Component, reason: str, setting: str = "", advice: str = "") -> Discard:
    return Discard(component, reason, setting, advice=advice)


_LOKI, _MIMIR, _TEMPO = (store.component for store in STORES)
_LOKI_LIMITS, _TEMPO_LIMITS, _MIMIR_LIMITS = "limits_config", "overrides.defaults", "limits"
_ONE_WRITER = "let one agent only write a series"
_BLOCKED = f"take {_LOKI_LIMITS}.block_ingestion_until away (or block_ingestion_policy_until)"

DISCARDS: tuple[Discard, ...] = (
    _amount(_LOKI, "rate_limited", f"{_LOKI_LIMITS}.ingestion_rate_mb"),
    _amount(_LOKI, "per_stream_rate_limit", f"{_LOKI_LIMITS}.per_stream_rate_limit"),
    _amount(_LOKI, "stream_limit", f"{_LOKI_LIMITS}.max_global_streams_per_user"),
    _bad(_LOKI, "line_too_long", f"{_LOKI_LIMITS}.max_line_size"),
    _bad(_LOKI, "greater_than_max_sample_age", f"{_LOKI_LIMITS}.reject_old_samples_max_age"),
    _bad(_LOKI, "too_far_behind", "ingester.max_chunk_age"),
    _bad(_LOKI, "too_far_in_future", f"{_LOKI_LIMITS}.creation_grace_period"),
    _bad(_LOKI, "max_label_names_per_series", f"{_LOKI_LIMITS}.max_label_names_per_series"),
    _bad(_LOKI, "label_name_too_long", f"{_LOKI_LIMITS}.max_label_name_length"),
    _bad(_LOKI, "label_value_too_long", f"{_LOKI_LIMITS}.max_label_value_length"),
    _bad(_LOKI, "structured_metadata_too_large", f"{_LOKI_LIMITS}.max_structured_metadata_size"),
    _bad(_LOKI, "structured_metadata_too_many", f"{_LOKI_LIMITS}.max_structured_metadata_entries_count"),
    _bad(
        _LOKI,
        "disallowed_structured_metadata",
        f"{_LOKI_LIMITS}.allow_structured_metadata",
        f"set {_LOKI_LIMITS}.allow_structured_metadata to true",
    ),
    _bad(_LOKI, "missing_enforced_labels", f"{_LOKI_LIMITS}.enforced_labels", "push the labels that it enforces"),
    # Answered with 260 by default, and with whatever status the operator wants: also with 200.
    Discard(_LOKI, "blocked_ingestion", f"{_LOKI_LIMITS}.block_ingestion_until", silent=True, advice=_BLOCKED),
    Discard(
        _LOKI, "blocked_ingestion_policy", f"{_LOKI_LIMITS}.block_ingestion_policy_until", silent=True, advice=_BLOCKED
    ),
    _amount(_TEMPO, "rate_limited", f"{_TEMPO_LIMITS}.ingestion.rate_limit_bytes"),
    _amount(_TEMPO, "live_traces_exceeded", f"{_TEMPO_LIMITS}.ingestion.max_traces_per_user", silent=True),
    _amount(_TEMPO, "trace_too_large", f"{_TEMPO_LIMITS}.global.max_bytes_per_trace", silent=True),
    Discard(_TEMPO, "trace_too_large_to_compact", f"{_TEMPO_LIMITS}.global.max_bytes_per_trace", silent=True),
    Discard(_TEMPO, "unknown_error", silent=True),
    _amount(_MIMIR, "rate_limited", f"{_MIMIR_LIMITS}.ingestion_rate"),
    _amount(_MIMIR, "per_user_series_limit", f"{_MIMIR_LIMITS}.max_global_series_per_user"),
    _amount(_MIMIR, "per_metric_series_limit", f"{_MIMIR_LIMITS}.max_global_series_per_metric"),
    _amount(_MIMIR, "per_user_active_series_limit", f"{_MIMIR_LIMITS}.max_active_series_per_user"),
    _bad(_MIMIR, "sample-out-of-order", f"{_MIMIR_LIMITS}.out_of_order_time_window"),
    _bad(_MIMIR, "sample-too-old", f"{_MIMIR_LIMITS}.out_of_order_time_window"),
    _bad(_MIMIR, "sample-timestamp-too-old", f"{_MIMIR_LIMITS}.out_of_order_time_window"),
    _bad(_MIMIR, "sample-too-far-in-future", f"{_MIMIR_LIMITS}.creation_grace_period"),
    _bad(_MIMIR, "too_far_in_future", f"{_MIMIR_LIMITS}.creation_grace_period"),
    _bad(_MIMIR, "too_far_in_past", f"{_MIMIR_LIMITS}.past_grace_period"),
    _bad(_MIMIR, "new-value-for-timestamp", advice=_ONE_WRITER),
    # The same time twice in one request: the first one stays, and the answer is 200.
    Discard(_MIMIR, "sample_duplicate_timestamp", silent=True, advice=_ONE_WRITER),
    _bad(_MIMIR, "max_native_histogram_buckets", f"{_MIMIR_LIMITS}.max_native_histogram_buckets"),
    _bad(_MIMIR, "max_label_names_per_series", f"{_MIMIR_LIMITS}.max_label_names_per_series"),
    _bad(_MIMIR, "label_name_too_long", f"{_MIMIR_LIMITS}.max_label_name_length"),
    _bad(_MIMIR, "label_value_too_long", f"{_MIMIR_LIMITS}.max_label_value_length"),
    _bad(_MIMIR, "too_many_ha_clusters", f"{_MIMIR_LIMITS}.ha_max_clusters"),
)
"""The reasons whose setting is known."""

_KNOWN = {(one.component, one.reason): one for one in DISCARDS}


def discard_of(component: Component, reason: str) -> Discard:
    """What is known of a reason; of one that is not known, nothing but its name."""
    return _KNOWN.get((component, reason), Discard(component, reason))
