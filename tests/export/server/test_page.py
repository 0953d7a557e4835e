"""The web page in a real browser: by keyboard, on a phone's screen, with a key, and when something goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.question_reading import WholeAnswer
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.gguf_answerer import ExportResponder
from tests.export.exported_run import QUESTIONS
from tests.export.server.serving import Endless, served

sync_api = pytest.importorskip("playwright.sync_api")

PHONE = {"width": 360, "height": 640}
PATIENCE = 60_000
expect = sync_api.expect
expect.set_options(timeout=PATIENCE)  # `wait_for_function` would need the `eval` that the page's policy forbids


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium is installed on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A phone's screen; whatever the page complains of in the console fails the test."""
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert not complaints


def test_a_question_typed_on_a_phone_is_answered(bridge: ExportedBridge, page: Any) -> None:
    expected = ExportResponder(bridge, max_new_tokens=16, sampling=None).generate(QUESTIONS[:1])[0]
    with served(bridge) as address:
        page.goto(address)
        expect(page.locator("#model")).to_have_text("tiny-cpu-f32")
        expect(page.locator("#question"), "typing must need no click").to_be_focused()
        page.keyboard.type("two")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("lines")
        assert page.input_value("#question") == "two\nlines"
        page.fill("#question", QUESTIONS[0])
        page.keyboard.press("Enter")
        expect(page.locator("#talk[aria-busy=false] .answer")).not_to_be_empty()
        assert page.inner_text("#talk .question") == QUESTIONS[0]
        assert page.inner_text("#talk .answer").startswith(expected)
        assert page.input_value("#question") == ""
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing may stick out sideways"
        assert all(button.bounding_box()["height"] >= 44 for button in page.query_selector_all("button")), "room for a thumb"
        page.fill("#question", "<img src=x onerror=alert(1)>")
        page.tap("#send")
        expect(page.locator("#talk .answer")).to_have_count(2)
        assert page.query_selector("#talk img") is None


def test_answers_are_rated_and_corrected_with_a_keyboard_alone(bridge: ExportedBridge, page: Any, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.jsonl"
    with served(bridge, ratings=ratings) as address:
        page.goto(address)
        for number, question in enumerate(QUESTIONS[:2], start=1):
            expect(page.locator("#question")).to_be_focused()
            page.keyboard.type(question)
            page.keyboard.press("Enter")
            expect(page.locator("#talk[aria-busy=false] .rating")).to_have_count(number)
            buttons = page.locator("#talk li:last-child .rating button")
            assert all(button.bounding_box()["height"] >= 44 for button in buttons.all()), "room for a thumb"
            buttons.nth(number - 1).focus()
            page.keyboard.press("Enter")
            if number == 2:
                expect(page.locator("#talk .rating textarea")).to_be_focused()
                page.keyboard.type("Nane")
                page.keyboard.press("Tab")
                page.keyboard.press("Enter")
            expect(page.locator("#talk li:last-child .rating button")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing may stick out sideways"
        assert page.locator(".rating").all_inner_texts() == ["Saved as right.", "Saved with your correction."]
    first, second = (json.loads(line) for line in ratings.read_text(encoding="utf-8").splitlines())
    assert (first["question"], first["right"], first["response"]) == (QUESTIONS[0], True, first["said"])
    assert (second["question"], second["right"], second["response"]) == (QUESTIONS[1], False, "Nane")


class Beside:
    """A second model."""

    name = "llm (base)"
    languages: Sequence[str] = ()

    def answer_whole(
        self, question: str, language: str | None, *, max_new_tokens: int | None, sampling: Sampling | None
    ) -> WholeAnswer:
        assert (max_new_tokens, sampling) == (None, None)
        assert language is None
        remarks = {"route": "plain", "route_reason": "it is the base", "untranslated": "Seven."}
        return WholeAnswer(f"Saba: {question}", remarks=remarks)


def test_two_models_answer_beside_each_other_and_are_rated_by_keyboard(
    bridge: ExportedBridge, page: Any, tmp_path: Path
) -> None:
    ratings = tmp_path / "ratings.jsonl"
    with served(bridge, ratings=ratings, beside=Beside(), api_key="secret") as address:
        page.goto(address)
        page.fill("#key", "secret")
        page.focus("#question")
        page.keyboard.type(QUESTIONS[0])
        page.keyboard.press("Enter")
        expect(page.locator("#talk[aria-busy=false] .pair .rating")).to_have_count(2)
        assert page.locator(".pair h2").all_inner_texts() == [bridge.name, "llm (base)"]
        second = page.locator(".pair .answer").nth(1)
        assert second.locator("span").first.inner_text() == f"Saba: {QUESTIONS[0]}"
        assert second.locator(".note").all_inner_texts() == [
            "Route: plain, because it is the base.",
            "The answer in English: Seven.",
        ]
        first, below = (page.locator(".pair .answer").nth(place).bounding_box() for place in (0, 1))
        assert first["y"] + first["height"] <= below["y"], "below each other on a phone"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.set_viewport_size({"width": 1280, "height": 800})
        first, right = (page.locator(".pair .answer").nth(place).bounding_box() for place in (0, 1))
        assert first["x"] + first["width"] <= right["x"], "beside each other on a wide screen"
        for left in (1, 0):
            expect(page.locator("#question")).to_be_focused()
            while not page.evaluate("document.activeElement.closest('.rating') !== null"):
                page.keyboard.press("Shift+Tab")
            page.keyboard.press("Shift+Tab")  # from "Wrong" to "Right"
            page.keyboard.press("Enter")
            expect(page.locator(".rating button")).to_have_count(2 * left)
    kept = [json.loads(line) for line in ratings.read_text(encoding="utf-8").splitlines()]
    assert [(line["model"], line["right"]) for line in kept] == [("llm (base)", True), (bridge.name, True)]


def test_a_key_is_asked_for_and_nothing_typed_is_lost(bridge: ExportedBridge, page: Any) -> None:
    with served(bridge, api_key="secret") as address:
        page.goto(address)
        page.wait_for_selector("#key", state="visible")
        assert "API key" in page.inner_text("#problem")
        page.fill("#question", "Omar")
        page.focus("#question")
        page.keyboard.press("Enter")
        expect(page.locator("#talk[aria-busy=false]")).to_be_attached()  # until it has failed, the page asks nothing else
        expect(page.locator("#question")).to_have_value("Omar")
        page.fill("#key", "secret")
        page.focus("#question")
        page.keyboard.press("Enter")
        expect(page.locator("#talk[aria-busy=false] .answer")).not_to_be_empty()
    page.fill("#question", "and now?")
    page.focus("#question")
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_contain_text("cannot reach the server")
    assert page.input_value("#question") == "and now?"


def test_escape_stops_an_answer(bridge: ExportedBridge, page: Any) -> None:
    endless = Endless(bridge)
    with served(endless) as address:
        page.goto(address)
        page.fill("#question", "Omar")
        page.keyboard.press("Enter")
        expect(page.locator("#talk .answer")).to_contain_text("more more")
        page.keyboard.press("Escape")
        page.wait_for_selector("#talk .note")
        assert page.inner_text("#talk .note") == "Stopped."
        assert endless.ended.wait(60), "the server must stop, too"
        assert page.is_enabled("#send")
