"""`lilift watch`: the report as the run folder is now, for this machine alone."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.phases.report.live_server import LiveReport, live_server
from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.storage import JsonLines, write_text

RECIPE = "name: live\nlanguages: [om]\nalign: {}\ntransfer: {}\n"
STEP = {"epoch": 1, "loss": 2.5, "learning_rate": 0.001, "tokens_per_second": 700.0, "memory_mib": 800.0, "seconds": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose first stage has just begun."""
    write_text(tmp_path / "recipe.yaml", RECIPE)
    (tmp_path / "align").mkdir()
    return tmp_path


@pytest.fixture
def server(run: Path) -> Iterator[ThreadingHTTPServer]:
    """A running server for that folder."""
    with live_server(LiveReport(run, 7), 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: ThreadingHTTPServer, path: str = "/", host: str = "localhost") -> tuple[int, str]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8")


def test_the_page_loads_itself_again_and_shows_what_the_run_has_written_since(server: ThreadingHTTPServer, run: Path) -> None:
    status, page = ask(server)
    assert status == 200
    assert '<meta http-equiv="refresh" content="7">' in page
    assert "live" in page
    assert "nats per token" not in page
    JsonLines(run / "align" / "metrics.jsonl").append(*({"step": step, **STEP} for step in range(1, 30)))
    assert "nats per token" in ask(server)[1]


def test_a_page_is_written_again_only_after_a_change(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("lilift.phases.report.live_server.report_page", lambda path: written.append(path) or "<head>")
    report = LiveReport(run, 5)
    report.page()
    report.page()
    assert len(written) == 1
    write_text(run / "measured.json", "{}")
    report.page()
    assert len(written) == 2


def test_other_names_and_paths_get_nothing_of_the_run(server: ThreadingHTTPServer) -> None:
    assert ask(server, host="example.org")[0] == 403
    assert ask(server, "/recipe.yaml")[0] == 404
    assert ask(server, "/?again=1")[0] == 200


def test_a_port_in_use_and_a_folder_without_a_run_are_one_line(
    server: ThreadingHTTPServer, run: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EnvironmentUnfit, match="cannot listen on port"):
        live_server(LiveReport(run, 5), server.server_address[1])
    assert app.main(["watch", str(tmp_path_factory.mktemp("empty"))]) == 5
    assert "this folder holds no run" in capsys.readouterr().err
    assert app.main(["watch", str(run), "--every", "0"]) == 2
