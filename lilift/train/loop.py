"""The training loop: one stage, from its first step or from its newest intact checkpoint to its last step."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NoReturn

import torch
from torch import nn

from lilift.data.batches.row_dealing import deal_rows
from lilift.data.batches.step_grouping import Step, iterate_steps, survey_steps
from lilift.data.texts.examples import Row
from lilift.memory.encode_ahead import encoded_steps
from lilift.memory.guard import OutOfMemoryGuard, is_out_of_memory
from lilift.memory.probe import MemoryProbe
from lilift.processes.same_weights import require_same_weights
from lilift.processes.step_exchange import Report, StepExchange
from lilift.recipe.errors import TrainingError
from lilift.recipe.interrupt import Interruption, polite_interrupts
from lilift.train.accuracy_watch import AccuracyWatch
from lilift.train.checkpoint import TrainingState
from lilift.train.learner import Learner
from lilift.train.metrics import MetricsLine, Window
from lilift.train.optimizer import allocate_state, build_optimizer, build_schedule, take_step
from lilift.train.processor_watch import ProcessorWatch
from lilift.train.randomness import deterministic, seed_everything, seed_step, unchanged_randomness
from lilift.train.stage_job import StageJob, StageResult
from lilift.train.step import StepOutcome, compute_gradients
from lilift.train.training_progress import StageProgress, StepReport


def train_stage(model: Learner, job: StageJob, progress: StageProgress) -> StageResult:
    """Train until the stage's last step.

    You may interrupt a run at any step and resume it. On a CPU with the same number of threads, it then ends with the same bits
    in weights and metrics as an uninterrupted run.

    Raises:
        TrainingError: the loss or the gradient is not finite, or memory is exhausted. lilift did not apply the step and keeps
            earlier checkpoints.
        RunFolderError: no checkpoint is intact, or the checkpoints belong to another recipe, or there are some and
            `job.resume` is off.
        StorageError: the disk is full or read-only.
        DataError: the source gives no usable rows.
        StoppedBySignal: the user pressed Ctrl-C, or the process got SIGTERM. lilift saved a checkpoint first.
        ProcessLost: another process of the run has ended or does not answer.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trained:
        raise ValueError("no parameter requires a gradient; call `train_only` first")
    device = next(iter(trained.values())).device
    survey = survey_steps(job.source, job.plan, epochs=job.settings.epochs, max_steps=job.settings.max_steps)
    model.train()
    with deterministic(device), polite_interrupts() as interruption, MemoryProbe(device.type) as probe:
        run = _Run(model, job, trained, device, survey.steps, progress, probe, interruption)
        progress.begin(job.name, total_steps=survey.steps, done_steps=run.state.totals.step)
        try:
            run.rehearse(survey.heaviest)
            run.to_the_end()
            run.keep_best()
        finally:
            progress.end()
            model.train(False)
    return run.result()


class _Run:
    """A stage while it trains: the trained parameters, the optimizer, and the state that checkpoints hold."""

    def __init__(
        self,
        model: Learner,
        job: StageJob,
        trained: dict[str, nn.Parameter],
        device: torch.device,
        total_steps: int,
        progress: StageProgress,
        probe: MemoryProbe,
        interruption: Interruption,
    ) -> None:
        self.model, self.job, self.trained, self.device = model, job, trained, device
        self.total_steps, self.progress, self.probe, self.interruption = total_steps, progress, probe, interruption
        self.processes = job.processes
        several = not self.processes.alone
        self.exchange = StepExchange(self.processes, list(trained.values()), self._report) if several else None
        self.checkpoints = job.checkpoints
        self.metrics = job.metrics
        self.optimizer = build_optimizer(trained, job.settings)
        seed_everything(job.seed)
        self.state = self._state_to_start_from()
        self.guard = OutOfMemoryGuard(self._note_budget, budget=self.state.budget)
        done = self.state.totals.step
        self.watch: AccuracyWatch | None = None
        if self.processes.is_first:
            # Drop the lines after the checkpoint: the resumed steps write them again.
            self.metrics.rewrite(line for line in self.metrics.read() if line["step"] <= done)
            self.watch = None if job.watch is None else AccuracyWatch(job.watch, job.name, job.folder, job.watched, done=done)
        self.kept_step: int | None = None
        self.schedule = build_schedule(self.optimizer, job.settings, total_steps=total_steps, done_steps=done)

    def _state_to_start_from(self) -> TrainingState:
        if not self.job.resume:
            self.checkpoints.require_none()
        step = self.processes.from_first(lambda: self.checkpoints.newest_intact_step(self.progress.note))
        if step is None:
            return TrainingState()
        return self.checkpoints.load(self.checkpoints.at(step), self.trained, self.optimizer, self.progress.note)

    def rehearse(self, rows: Sequence[Row]) -> None:
        """Compute a step of the heaviest micro-batch without applying it, to find out at once whether it fits into memory.

        It changes nothing but the measured memory, and the budget if the micro-batch did not fit.
        """
        if self.state.totals.step >= self.total_steps:
            return
        with self._out_of_memory_named(), unchanged_randomness(self.device):
            if self.job.encode is not None:
                self.job.encode(rows)
            self.guard.retry(lambda: allocate_state(self.optimizer))
            self._gradients([rows], loss_tokens=sum(len(row.response_ids) for row in rows), exchange=None)
            self.optimizer.zero_grad(set_to_none=True)
        self.progress.detail(self._rehearsed(rows))

    def to_the_end(self) -> None:
        """Take all remaining steps."""
        totals, settings, interruption = self.state.totals, self.job.settings, self.interruption
        require_same_weights(self.processes, self.trained.items(), f"{self.job.name}, before step {totals.step + 1}")
        if totals.step >= self.total_steps:
            return
        self._watch()
        began = time.monotonic()
        # On a GPU, the thread that leads a step has nothing to compute while the GPU works.
        watch = ProcessorWatch(self.progress.note) if self.device.type == "cpu" else None
        where, encode = (self.job.source, self.job.plan, self.state.position), self.job.encode
        left = self.total_steps - totals.step
        for step in iterate_steps(*where) if encode is None else encoded_steps(*where, left, encode, self.processes):
            rate = float(self.schedule.get_last_lr()[0])
            with contextlib.nullcontext() if watch is None else watch.step():
                outcome = self._train_on(step, rate)
            seconds, began = time.monotonic() - began, time.monotonic()
            self._count(step, outcome, rate, seconds)
            last = totals.step == self.total_steps
            watched = self._watch()
            must_save = watched and self.job.watch is not None and self.job.watch.keep_best
            stopping = interruption.requested if self.exchange is None else self.exchange.agreed().stop > 0
            if last or stopping or must_save or totals.step % settings.checkpoint_every == 0:
                require_same_weights(self.processes, self.trained.items(), f"{self.job.name}, step {totals.step}")
                self.processes.from_first(self._save)
            if watched:
                began = time.monotonic()  # a watch is no training time
            if stopping:
                raise interruption.stop(f"{self.job.name} stopped and saved after step {totals.step} of {self.total_steps}")
            if last:
                return

    def _save(self) -> None:
        self.checkpoints.save(self.trained, self.optimizer, self.state)
        if self.watch is not None:
            self.watch.forget(self.checkpoints.steps())

    def _watch(self) -> bool:
        """Watch the foreign questions if it is time to; returns whether lilift did.

        If the stage keeps its best weights, a checkpoint follows, so that a resumed run has them.
        """
        plan = self.job.watch
        if plan is None or not plan.wants(self.state.totals.step, self.total_steps):
            return False
        return self.processes.from_first(self._look)

    def _look(self) -> bool:
        step = self.state.totals.step
        if self.watch is None or not self.watch.is_due(step, self.total_steps):
            return False
        with self._out_of_memory_named():
            found, warning = self.watch.look(step, self.trained)
        self.progress.detail(found)
        if warning is not None:
            self.progress.note(warning)
        return True

    def keep_best(self) -> None:
        """End with the weights of the best watch, if the stage keeps them."""
        if self.job.watch is not None and self.job.watch.keep_best:
            watch = self.watch
            self.kept_step = self.processes.from_first(lambda: None if watch is None else watch.restore_best(self.trained))
            if self.exchange is not None:
                self.exchange.take_from_first()
            self.progress.note(f"  {self.job.name} keeps the weights of step {self.kept_step}, the best of its watches")

    def _train_on(self, step: Step, rate: float) -> StepOutcome:
        """One optimizer step."""
        with self._out_of_memory_named():
            own = self._own_part(step)
            outcome = self._gradients(own, loss_tokens=step.loss_tokens, exchange=self.exchange)
            self._adopt_agreed()
            if not outcome.finite:
                self._refuse(outcome, rate)
            take_step(self.optimizer, self.schedule)
        return outcome

    def _own_part(self, step: Step) -> Sequence[Sequence[Row]]:
        """The micro-batches that this process computes, and random numbers of its own for them."""
        if self.exchange is None:
            return step.micro_batches
        seed_step(self.job.seed, self.state.totals.step, self.processes.rank)
        return deal_rows(step.micro_batches, self.processes.size, self.job.plan.packed_length)[self.processes.rank]

    def _report(self) -> Report:
        """What the other processes must know of this one."""
        return Report(self.interruption.number, self.guard.budget, self.probe.peak_mib)

    def _adopt_agreed(self) -> None:
        """Do as the process that has the least memory, or that was asked to stop."""
        if self.exchange is None:
            return
        agreed = self.exchange.agreed()
        if agreed.stop:
            self.interruption.request(agreed.stop)
        if agreed.budget != self.guard.budget:
            self.guard.budget = agreed.budget
            self._note_budget(
                f"memory ran out in another process; lilift continues with at most {agreed.budget:,} tokens at once"
            )

    def _gradients(self, rows: Sequence[Sequence[Row]], *, loss_tokens: int, exchange: StepExchange | None) -> StepOutcome:
        return compute_gradients(
            self.model,
            rows,
            list(self.trained.values()),
            loss_tokens=loss_tokens,
            max_grad_norm=self.job.settings.max_grad_norm,
            guard=self.guard,
            exchange=exchange,
        )

    def _rehearsed(self, rows: Sequence[Row]) -> str:
        predicted = self.job.predicted_mib
        beside = f", {predicted:,.0f} predicted" if predicted is not None else ""
        padded = self.model.padded_tokens(rows)
        return f"  longest batch first: {len(rows)} rows, {padded:,} tokens; peak {self.probe.peak_mib:,.0f} MiB{beside}"

    def _note_budget(self, line: str) -> None:
        self.state.budget = self.guard.budget
        self.progress.note(f"  {self.job.name}, step {self.state.totals.step + 1}: {line}")

    def _count(self, step: Step, outcome: StepOutcome, rate: float, seconds: float) -> None:
        """Record a step in state, metrics and display."""
        state, totals = self.state, self.state.totals
        state.position = step.following
        peak = self.probe.peak_mib if self.exchange is None else self.exchange.agreed().peak_mib
        totals.add(outcome, seconds, peak)
        state.window.add(outcome, seconds)
        epoch = step.position.epoch + 1
        if totals.step % self.job.settings.log_every == 0 or totals.step == self.total_steps:
            if self.processes.is_first:
                self.metrics.append(MetricsLine.of(state.window, totals, epoch=epoch, learning_rate=rate).as_dict())
            state.window = Window()
        self.progress.step(
            StepReport(
                step=totals.step,
                total_steps=self.total_steps,
                epoch=epoch,
                loss=outcome.loss,
                learning_rate=rate,
                tokens=outcome.tokens,
                seconds=seconds,
                memory_mib=totals.peak_memory_mib,
            )
        )

    def result(self) -> StageResult:
        """What the finished stage took and reached."""
        return StageResult(**self.processes.from_first(lambda: asdict(self._own_result())))

    def _own_result(self) -> StageResult:
        totals = self.state.totals
        return StageResult(
            steps=totals.step,
            tokens=totals.tokens,
            loss_tokens=totals.loss_tokens,
            seconds=round(totals.seconds, 3),
            peak_memory_mib=totals.peak_memory_mib,
            loss=self.metrics.read()[-1]["loss"],
            kept_step=self.kept_step,
        )

    def _refuse(self, outcome: StepOutcome, rate: float) -> NoReturn:
        settings, section = self.job.settings, self.job.section
        what = "gradient" if math.isfinite(outcome.loss) else "loss"
        raise TrainingError(
            f"the {what} is not a finite number (loss {outcome.loss}, gradient norm {outcome.grad_norm}, "
            f"learning rate {rate:.3g}), so lilift did not apply the step",
            where=f"{self.job.name}, step {self.state.totals.step + 1}",
            remedy=f"lower {section}.learning_rate to {settings.learning_rate / 3:.1g} (if llm.dtype is float16, set bfloat16) "
            f"and train the stage again from its start; {self._kept()}",
        )

    @contextlib.contextmanager
    def _out_of_memory_named(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                "memory is exhausted even by a single row",
                where=f"{self.job.name}, step {self.state.totals.step + 1}",
                remedy=f"close other programs, lower data.max_tokens, or choose a smaller model; {self._kept()}",
            ) from error

    def _kept(self) -> str:
        steps = self.checkpoints.steps()
        return f"lilift keeps the checkpoint of step {max(steps)}" if steps else "there is no checkpoint yet"
