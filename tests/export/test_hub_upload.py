"""Sending an export to the hub: huggingface_hub's own client and a small server that answers as the hub does."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from lilift.export.hub_upload import plan_upload, send
from lilift.recipe.errors import EnvironmentUnfit, LiliftError, ModelError, RecipeError, RunFolderError


class Hub(http.server.ThreadingHTTPServer):
    """Knows one account, `me`, and the repositories in `private`; `refusal` is the status that it gives to whoever writes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.private: dict[str, bool] = {}
        self.received: dict[str, str] = {}
        self.refusal: int | None = None
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.api = HfApi(endpoint=self.address, token="hf_write")


class Answers(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _reply(self, status: int, content: Any, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path.startswith("/api/whoami"):
            signed_in = self.headers.get("Authorization") == "Bearer hf_write"
            return self._reply(200, {"name": "me", "type": "user"}) if signed_in else self._reply(401, {"error": "who?"})
        name = self.path.removeprefix("/api/models/").partition("?")[0]
        if name in self.server.private:
            return self._reply(200, {"id": name, "private": self.server.private[name]})
        return self._reply(404, {"error": "not found"}, **{"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        body = self._body()
        if self.server.refusal is not None:
            return self._reply(self.server.refusal, {"error": "you may not"})
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.private.setdefault(name, wanted["visibility"] == "private")
            return self._reply(200, {"url": f"{self.server.address}/{name}"})
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
            ]
            return self._reply(200, {"files": files})
        if "/commit/" in self.path:
            entries = [json.loads(line) for line in body.splitlines()]
            self.server.received |= {entry["value"]["path"]: "sent" for entry in entries if entry["key"] == "file"}
            return self._reply(
                200, {"success": True, "commitOid": "a" * 40, "commitUrl": f"{self.server.address}/me/x/commit/a"}
            )
        return self._reply(200, {"errors": [], "warnings": []})  # /api/validate-yaml

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the other tests are offline


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    names = ("README.md", "hf/model [1].safetensors", "llm-f16.gguf")
    for name in names:
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "export" / "lilift.json").write_text(json.dumps({"sha256": dict.fromkeys(names, "")}), encoding="utf-8")
    (tmp_path / "export" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "export" / "hf" / "model 1.safetensors").write_text("not in the list", encoding="utf-8")
    return tmp_path / "export"


def test_only_the_listed_files_are_sent_to_a_new_private_repository(hub: Hub, export: Path) -> None:
    upload = plan_upload(export, "swahili", public=False, api=hub.api)
    assert upload.lines()[0] == "to the new private repository me/swahili on the hub, 0.0 MB:"
    assert hub.private == {}  # a plan changes nothing
    assert send(upload, api=hub.api) == f"{hub.address}/me/swahili"
    assert set(hub.received) == {"README.md", "hf/model [1].safetensors", "lilift.json", "llm-f16.gguf"}
    assert hub.private == {"me/swahili": True}


def test_an_existing_public_repository_is_named_as_such_before_anything_is_sent(hub: Hub, export: Path) -> None:
    hub.private["team/open"] = False
    assert "existing PUBLIC repository team/open" in plan_upload(export, "team/open", public=False, api=hub.api).lines()[0]
    assert "new PUBLIC repository me/new" in plan_upload(export, "me/new", public=True, api=hub.api).lines()[0]


@pytest.mark.parametrize(
    ("status", "says"), [(401, "does not accept your token"), (403, "may not write"), (400, "refuses (400")]
)
def test_a_refusal_of_the_hub_is_one_line(hub: Hub, export: Path, status: int, says: str) -> None:
    upload = plan_upload(export, "me/x", public=False, api=hub.api)
    hub.refusal = status
    with pytest.raises(ModelError, match=says.replace("(", r"\(")) as caught:
        send(upload, api=hub.api)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("repository", "token", "error"),
    [("me/a b", "hf_write", RecipeError), ("me/x", "hf_other", ModelError), ("me/x", None, ModelError)],
)
def test_a_wrong_name_or_token_is_found_before_anything_is_sent(
    hub: Hub, export: Path, repository: str, token: str | None, error: type[LiliftError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)  # whoever runs the tests may be signed in
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(error):
        plan_upload(export, repository, public=False, api=HfApi(endpoint=hub.address, token=token))
    assert hub.private == {}


def test_offline_mode_is_named(hub: Hub, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentUnfit, match="HF_HUB_OFFLINE"):
        plan_upload(export, "me/x", public=False, api=hub.api)


def test_without_a_network_the_remedy_is_to_repeat(export: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match="not sent again"):
        plan_upload(export, "me/x", public=False, api=HfApi(endpoint="http://127.0.0.1:9", token="hf_write"))


def test_a_folder_that_is_no_whole_export_is_refused(hub: Hub, export: Path) -> None:
    (export / "llm-f16.gguf").unlink()
    with pytest.raises(RunFolderError, match="no whole export"):
        plan_upload(export, "me/x", public=False, api=hub.api)
