"""The thread that generates all answers of a server, several side by side, in the order of their requests."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lilift.export.runner.answer_batch import AnswerBatch, Prompt
from lilift.export.runner.answer_text import Piece
from lilift.export.runner.exported_bridge import ExportedBridge, usable_cores
from lilift.export.server.chat_requests import ChatRequest
from lilift.export.server.question_reading import DirectReading, ReadsQuestions
from lilift.export.server.stop_texts import StopTexts


class Answer:
    """One answer while the worker generates it; its client's coroutine reads the pieces.

    Args:
        asked: the request.
        default_tokens: the longest answer in tokens if the request does not say.
        whole: the client sees only the whole answer, also if it wants a stream.

    Attributes:
        prompt: what an export reads.
        cut: whether the model reads only the beginning of the question.
        remarks: what the response says about question and answer, as plain JSON values.
    """

    def __init__(self, asked: ChatRequest, default_tokens: int, *, whole: bool = False) -> None:
        self.asked = asked
        self.prompt: Prompt | None = None
        self.cut = False
        self.remarks: dict[str, Any] = {}
        self._in_pieces = bool(asked.stream) and not whole
        self.most = asked.longest(default_tokens)
        self.gone = False
        self.stops = StopTexts(asked.stops)
        self.seed = asked.drawing_seed()
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._texts: list[str] = []

    async def next(self) -> Piece:
        """The next piece of a stream, or the whole answer.

        Raises:
            LiliftError: the model cannot answer the question.
            RequestError: the server stops.
        """
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def fail(self, error: Exception) -> None:
        """Tell the client's coroutine, from the thread of the server's loop."""
        self._pieces.put_nowait(error)

    def read(self, prompt: Prompt, remarks: Mapping[str, Any]) -> None:
        """Take what the model reads of the question, and what the response says about it."""
        self.prompt, self.cut = prompt, prompt.cut
        self.remarks |= remarks

    def start(self, batch: AnswerBatch) -> tuple[int, Piece]:
        """Start in a batch that has room."""
        assert self.prompt is not None
        return batch.start(self.prompt, max_new_tokens=self.most, sampling=self.asked.sampling(), seed=self.seed)

    def shown(self, piece: Piece) -> Piece | None:
        """What the client may see now: a part of a stream, or the whole answer after it is complete."""
        piece = self.stops.passed(piece)
        if self._in_pieces:
            return piece if piece.text or piece.ending else None
        self._texts.append(piece.text)
        return None if piece.ending is None else Piece("".join(self._texts), piece.tokens, piece.ending)

    def send(self, content: Piece | Exception) -> None:
        """Tell the client's coroutine, from the worker's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, content)


class AnswerWorker:
    """Generates answers in a thread of its own.

    If one thread more can compute without taking cores from the first, it runs the encoder for the answers that wait.

    Args:
        bridge: the model that answers.
        answers: how many grow side by side; further ones wait.
        reading: turns questions into prompts.

    Raises:
        ModelError: there is not enough memory for so many.
    """

    def __init__(self, bridge: ExportedBridge, answers: int, reading: ReadsQuestions | None = None) -> None:
        self._reading = reading or DirectReading(bridge)
        self._batch = bridge.batch(answers)
        self._waiting: deque[Answer] = deque()
        self._running: dict[int, Answer] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        # A translator and the figures of a route take longer than the encoder, so the running answers do not wait for them.
        spare = reading is not None or 2 * bridge.threads <= usable_cores()
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encoder") if spare else None

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the current step, and wait for that."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._encoding is not None:
            self._encoding.shutdown(cancel_futures=True)
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, answer: Answer) -> None:
        """Generate this answer after those that wait already."""
        if self._encoding is None:
            self._append(answer)
        else:
            self._encoding.submit(self._encode, answer)

    def _encode(self, answer: Answer) -> None:
        """Runs in the encoder's thread."""
        if answer.gone:
            return
        try:
            answer.read(*self._reading.prepare(answer.asked.question, answer.asked.language))
        except Exception as error:
            answer.send(error)
        else:
            self._append(answer)

    def _append(self, answer: Answer) -> None:
        with self._wake:
            self._waiting.append(answer)
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._running or self._closing):
                    self._wake.wait()
                if self._closing:
                    break
            self._start_next()
            if self._running:
                self._step()
        for number in list(self._running):
            self._batch.leave(number)

    def _start_next(self) -> None:
        """Start the answer that has waited longest, if there is room. Only one: the running answers wait meanwhile."""
        answer = self._waiting[0] if self._waiting else None
        if answer is None:
            return
        try:
            if not answer.gone:
                if answer.prompt is None:
                    answer.read(*self._reading.prepare(answer.asked.question, answer.asked.language))
                assert answer.prompt is not None
                if not self._batch.has_room(answer.prompt, answer.most):
                    return
                number, piece = answer.start(self._batch)
                self._running[number] = answer
                self._pass_on(number, piece)
        except Exception as error:
            answer.send(error)
        self._waiting.popleft()

    def _step(self) -> None:
        for number, answer in list(self._running.items()):
            if answer.gone:
                self._end(number)
        if not self._running:
            return
        try:
            pieces = self._batch.step()
        except Exception as error:
            for answer in self._running.values():
                answer.send(error)
            self._running.clear()
            return
        for number, piece in pieces.items():
            self._pass_on(number, piece)

    def _pass_on(self, number: int, piece: Piece) -> None:
        answer = self._running[number]
        shown = answer.shown(piece)
        if shown is not None:
            answer.send(shown)
        if piece.ending is not None or (shown is not None and shown.ending is not None):
            self._end(number)

    def _end(self, number: int) -> None:
        del self._running[number]
        self._batch.leave(number)
