"""Routes and languages of a server's answers, and a second model beside the first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import openai
import pytest

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.question_reading import WholeAnswer
from lilift.model.decoding.sampling import Sampling
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.gguf_answerer import ExportResponder, answerer_of
from lilift.phases.answering.route_rule import RouteSettings
from lilift.phases.answering.routed_responder import routed, routes_of
from lilift.phases.answering.served_models import RoutedReading, ServedAnswerer, base_of, name_of, served_languages
from lilift.recipe.errors import RecipeError
from tests.export.exported_run import QUESTIONS
from tests.export.server.serving import call, post, question, served

AUTO, ALL_AS_TEXT = RouteSettings(), RouteSettings(tokens_per_word=1e6, bits_per_word=1e6)


class Base:
    """A model that says what it was asked."""

    name = "llm (base)"
    languages: Sequence[str] = ("om",)

    def answer_whole(
        self, question: str, language: str | None, *, max_new_tokens: int | None, sampling: Sampling | None
    ) -> WholeAnswer:
        return WholeAnswer(f"{language}, {max_new_tokens}, {sampling is not None}: {question}")


def answers(bridge: ExportedBridge, *, as_text: bool) -> str:
    return ExportResponder(bridge, max_new_tokens=16, sampling=None, as_text=as_text).generate(QUESTIONS[:1])[0]


@pytest.mark.parametrize(("settings", "route"), [(AUTO, "bridge"), (ALL_AS_TEXT, "plain")])
def test_each_answer_names_its_route_and_openai_clients_accept_it(
    bridge: ExportedBridge, settings: RouteSettings, route: str
) -> None:
    routes = routes_of(answerer_of(bridge, AnswerOptions()), settings, None, "english")
    with served(bridge, reading=RoutedReading(bridge, routes, (), "en")) as address:
        status, headers, body = post(address, question(QUESTIONS[0]))
        assert (status, headers["x-lilift-route"], body["lilift"]["route"]) == (200, route, route)
        assert body["choices"][0]["message"]["content"] == answers(bridge, as_text=route == "plain")
        assert "bits a word" in body["lilift"]["route_reason"]
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        found = client.chat.completions.with_raw_response.create(
            model=bridge.name, messages=[{"role": "user", "content": QUESTIONS[0]}], stream=True
        )
        assert found.headers["x-lilift-route"] == route
        assert "".join(chunk.choices[0].delta.content or "" for chunk in found.parse()).strip()
        assert "route" not in json.dumps(call(address, "GET", "/v1/models")[2])


def test_figures_of_a_question_do_not_disturb_answers(bridge: ExportedBridge) -> None:
    before = answers(bridge, as_text=False)
    alone = bridge.text_bits(QUESTIONS[0])
    assert alone == bridge.text_bits(QUESTIONS[0])
    assert alone[1] > 0
    long = " ".join(QUESTIONS) * 3
    assert bridge.text_bits(long)[1] > alone[1], "more tokens than are computed at once"
    assert answers(bridge, as_text=False) == before


def test_a_second_model_answers_the_same_question_and_is_rated(bridge: ExportedBridge, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.jsonl"
    with served(bridge, beside=Base(), ratings=ratings) as address:
        models = call(address, "GET", "/v1/models")[2]["data"]
        assert [one["id"] for one in models] == [bridge.name, "llm (base)"]
        assert call(address, "GET", "/v1/models/llm%20(base)")[2]["id"] == "llm (base)"
        more = {"model": "llm (base)", "lilift": {"language": "om"}}
        status, _, body = post(address, question("Moja?", **more))
        assert (status, body["choices"][0]["message"]["content"]) == (200, "om, None, False: Moja?")
        assert (body["model"], "usage" in body) == ("llm (base)", False)
        drawn = post(address, question("Moja?", **more, temperature=1, max_tokens=3, stop=["Mo"]))[2]
        assert drawn["choices"][0]["message"]["content"] == "om, 3, True:"
        streamed = post(address, question("Moja?", **more, stream=True))[2]
        assert "om, None, False: Moja?" in streamed
        assert streamed.rstrip().endswith("[DONE]")
        assert post(address, question("Moja?", model="llm (base)", lilift={"language": "xx"}))[0] == 400
        assert post(address, question("Moja?", model="another"))[0] == 404
        for model, status in (("llm (base)", 201), (bridge.name, 201), ("another", 400)):
            body = json.dumps({"question": "Moja?", "answer": "1", "right": True, "model": model}).encode()
            assert call(address, "POST", "/v1/lilift/ratings", body, {"Content-Type": "application/json"})[0] == status
    kept = [json.loads(line)["model"] for line in ratings.read_text(encoding="utf-8").splitlines()]
    assert kept == ["llm (base)", bridge.name]


def test_any_model_of_lilift_is_served_whole(bridge: ExportedBridge, exported: Path) -> None:
    model = answerer_of(bridge, AnswerOptions())
    languages, default = served_languages(model, None, None, lambda _: None)
    one = ServedAnswerer(routed(model, ALL_AS_TEXT, None, "english"), name_of(str(exported)), languages, default)
    with served(one) as address:
        body = post(address, question(QUESTIONS[0], max_tokens=16))[2]
    assert body["model"] == exported.name
    assert body["choices"][0]["message"]["content"] == answers(bridge, as_text=True)
    assert body["lilift"]["route"] == "plain"


def test_the_base_is_the_llm_before_training_in_the_prompt_of_training(
    made: tuple[object, object, Path], exported: Path
) -> None:
    of_run, of_export = base_of(str(made[2]), None), base_of(str(exported), None)
    assert of_run == of_export
    assert base_of(str(exported), "alpaca")[1].template == "alpaca"
    with pytest.raises(RecipeError, match=r"--beside base needs a run or an export"):
        base_of("stand-in:llm", None)
