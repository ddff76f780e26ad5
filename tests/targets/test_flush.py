"""Components are asked to flush by their own paths, and what could not be asked is said."""

from __future__ import annotations

from scripted import Reply, scripted

from loadgen.config import Target
from loadgen.targets.flush import flush_components


def target(url: str) -> Target:
    return Target.model_validate({"loki": {"url": url}, "tempo": {"query_url": url}, "mimir": {"url": url}})


def test_each_component_is_asked_once_at_its_own_path() -> None:
    with scripted(answer=lambda request: Reply(204)) as server:
        assert flush_components(target(server.url)) == ()
    asked = [(request.method, request.path) for request in server.requests]
    assert asked == [("POST", "/flush"), ("POST", "/ingester/flush"), ("POST", "/flush")]


def test_a_tempo_that_cannot_be_asked_is_no_mistake_in_the_target() -> None:
    with scripted(answer=lambda request: Reply(404, b"404 page not found\n")) as server:
        loki, mimir, tempo = flush_components(target(server.url))
    assert "Tempo 3" in tempo and "URL" not in tempo
    assert "404" in loki and "404" in mimir


def test_a_component_without_an_address_is_named() -> None:
    problems = flush_components(Target())
    assert len(problems) == 3 and all("does not say where it is" in problem for problem in problems)
