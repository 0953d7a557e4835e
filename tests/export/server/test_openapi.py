"""The server does what its OpenAPI document says: schemathesis makes valid and invalid requests of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import Limits
from tests.export.server.serving import call, served

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")


@pytest.fixture(scope="module")
def address(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bridge, ratings = (
        ExportedBridge(exported, quantisation="q8_0", threads=1),
        tmp_path_factory.mktemp("kept") / "ratings.jsonl",
    )
    with served(bridge, limits=Limits(body_bytes=20_000), ratings=ratings) as found:
        yield found


OPERATIONS = [
    ("/v1/chat/completions", "POST", "valid"), ("/v1/chat/completions", "POST", "invalid"), ("/v1/models", "GET", "valid"),
    ("/v1/lilift/ratings", "POST", "valid"), ("/v1/lilift/ratings", "POST", "invalid"),
    ("/v1/models/{model}", "GET", "valid"), ("/health", "GET", "valid"), ("/openapi.json", "GET", "valid"),
]  # fmt: skip


@pytest.fixture(scope="module")
def document(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(("path", "method", "kind"), OPERATIONS)
def test_every_answer_is_one_of_the_document(document: Any, path: str, method: str, kind: str) -> None:
    modes = schemathesis.GenerationMode
    strategy = document[path][method].as_strategy(generation_mode=modes.POSITIVE if kind == "valid" else modes.NEGATIVE)
    wanted = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_schema_conformance,
        openapi_checks.negative_data_rejection,
    ]

    @settings(
        max_examples=10 if method == "POST" else 3, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def answered(case: Any) -> None:
        case.call_and_validate(checks=wanted)

    answered()


def test_the_document_names_every_address_and_needs_no_key(address: str, exported: Path) -> None:
    status, _, document = call(address, "GET", "/openapi.json")
    assert status == 200
    assert set(document["paths"]) == {path for path, _, _ in OPERATIONS}
    with served(ExportedBridge(exported, quantisation="q8_0", threads=1), api_key="secret") as keyed:
        assert call(keyed, "GET", "/openapi.json")[2] == document
        assert call(keyed, "GET", "/v1/models")[0] == 401
