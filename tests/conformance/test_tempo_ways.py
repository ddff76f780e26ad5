"""What is peculiar about Tempo, asked of whichever Tempo the stack has."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable

from asking import export, fresh, get, now_ns, span_request, wait_for
from stacks import Stack

Need = Callable[..., Stack]


def test_an_accepted_export_is_answered_with_an_empty_partial_success(need: Need) -> None:
    answer = export(need("otlp_http"), span_request(fresh("svc"), secrets.token_bytes(16), now_ns()))
    assert (answer.status, answer.body) == (200, b"\x0a\x00")
    assert answer.headers["content-type"] == "application/x-protobuf"


def test_a_trace_can_be_read_by_its_id_at_once(need: Need) -> None:
    stack, trace_id = need("otlp_http", "tempo"), secrets.token_bytes(16)
    assert export(stack, span_request(fresh("svc"), trace_id, now_ns())).status == 200
    # No waiting for any interval: what there is, is what a network and a busy machine need.
    answer = wait_for(
        stack, lambda: get(stack, "tempo", f"/api/traces/{trace_id.hex()}"), lambda got: got.status == 200, 1.0
    )
    assert answer.status == 200


def test_bodies_carry_ids_in_base64_and_searches_in_hex_without_leading_zeros(need: Need) -> None:
    stack, service, at = need("otlp_http", "tempo"), fresh("svc"), now_ns()
    trace_id = b"\x00\x00\x0a" + secrets.token_bytes(13)
    request = span_request(service, trace_id, at)
    span_id = request.resource_spans[0].scope_spans[0].spans[0].span_id
    assert export(stack, request).status == 200

    body = json.loads(get(stack, "tempo", f"/api/v2/traces/{trace_id.hex()}").body)
    (span,) = body["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["traceId"] == base64.b64encode(trace_id).decode()
    assert span["spanId"] == base64.b64encode(span_id).decode()

    query = f'{{ resource.service.name = "{service}" }}'
    answer = wait_for(
        stack,
        lambda: json.loads(get(stack, "tempo", "/api/search", q=query).body),
        lambda found: bool(found["traces"]),
    )
    assert [trace["traceID"] for trace in answer["traces"]] == [trace_id.hex().lstrip("0")]
    assert [one["spanID"] for one in answer["traces"][0]["spanSet"]["spans"]] == [span_id.hex()]


def test_an_absent_trace_is_404_in_one_api_and_an_empty_200_in_the_other(need: Need) -> None:
    stack, absent = need("tempo"), secrets.token_hex(16)
    first, second = get(stack, "tempo", f"/api/traces/{absent}"), get(stack, "tempo", f"/api/v2/traces/{absent}")
    assert (first.status, first.body) == (404, b"")
    assert (second.status, json.loads(second.body)["trace"]) == (200, {})
