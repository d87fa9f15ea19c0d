"""The training loop. `train(cfg)` prepares a run, `_loop` runs it; what happens every n iterations is called there, in
plain sight.

An iteration is one update of the detector; `iteration` counts those that are done. Steps in which only an adversary
learns come before the iteration that they are due at, and are no iterations (`adversary_steps`). The order within one
is fixed: step, report, evaluate, save, stop. So a checkpoint holds the evaluation of its iteration, or `best.evaluated`
says it is due.
"""

import contextlib
import time
from typing import Any

from ..runs import LAST, RESULT
from ..write import write_json
from .adversaries import Adversaries
from .balance import box_over_cls, gradient_norms
from .build import Run
from .distributed import world_of
from .log import STEP
from .meters import read_pictures, read_stats
from .progress import Clock
from .seed import set_threads
from .settings import read_settings
from .start import start_run
from .stop import AskedToStop, Interrupted, stop_on_signals
from .validation import is_better, metric_of, validate
from .weights import cpu_copy


def train(cfg: Any, resume: bool = False) -> dict[str, Any]:
    """Train the detector of `cfg` and write `cfg.train.output_dir`.

    Args:
        resume: continue from last.pth of that folder, with all state; from the beginning if it has none.

    Returns:
        What result.json holds: {"iteration", "output_dir", "metrics", "evaluation", "best", "best_metric",
        "clipped_share", "adversary_steps"}.

    Raises:
        ValueError: a setting, data or a folder that cannot be used. OSError: the disk cannot be written.
        NonFiniteLoss: with the losses and the image ids.
        Interrupted: a SystemExit of code 130 or 143 after SIGINT or SIGTERM, once the checkpoint is written.
    """
    settings = read_settings(cfg)
    threads = set_threads(settings.num_threads)
    try:
        with world_of(settings.device) as world, stop_on_signals() as stop:
            run, start = start_run(cfg, settings, world, stop, resume)
            with run:
                return _loop(run, start)
    finally:
        set_threads(threads)


def _loop(run: Run, start: int) -> dict[str, Any]:
    settings, last, iteration, report = run.settings, run.settings.max_iter, start, None
    if run.has_val and run.best.evaluated < start and due(start, settings.eval_period, last):
        report = _evaluate(run, start)  # the evaluation that a signal cut short
        _save(run, start)
    if start and _waited_enough(run):
        last = start
    batches = run.batches(start) if start < last else None
    clock = Clock()

    for iteration in range(start + 1, last + 1):
        adversary_steps(run, batches, clock, iteration - 1)
        reports = due(iteration, settings.log_period, last)
        stats, norms = step(run, batches, clock, iteration, reports)

        if reports:
            scalars, histograms = report_of(run, run, clock, stats, norms)
            run.log.write(iteration, "train", scalars, histograms)
            run.log.pictures(iteration, "train", read_pictures(stats))
            run.progress.report(iteration, scalars)
            clock.restart()

        if run.has_val and due(iteration, settings.eval_period, last):
            report = _evaluate(run, iteration)
            clock.restart()

        ends = iteration == last or _waited_enough(run)
        if ends or iteration % settings.checkpointer.period == 0:
            _save(run, iteration, named=iteration % run.settings.checkpointer.period == 0)
        if ends:
            break

        # Several processes must agree on when to stop, which costs a message: they ask on the iterations that report.
        if (reports or run.world.size == 1) and run.world.any(run.stop.signum is not None):
            _leave(run, iteration)

    if report is None and run.has_val:
        report = validate(run)  # a finished run was resumed: its numbers again, its log as it was
    return _finish(run, iteration, report)


def adversary_steps(run: Run, batches: Any, clock: Clock, iteration: int) -> None:
    """Take the steps that are due after `iteration` in which adversaries learn while the detector rests; mostly none.

    They have reports of their own, each `log_period` of them, under the split "adversary", and their time is not that
    of the detector's steps.
    """
    settings, against, own, began = run.settings, run.adversaries, Clock(), time.perf_counter()
    while against.rests:
        against.steps += 1
        reports = against.steps % settings.log_period == 0
        stats, norms = _adversary_step(run, batches, own, iteration, reports)
        if reports:
            scalars, histograms = report_of(run, against, own, stats, norms)
            run.log.write(iteration, "adversary", {STEP: against.steps, **scalars}, histograms)
            run.progress.say(f"adversary step {against.steps}, the detector rests: loss {scalars['loss/total']:.4f}")
            own.restart()
        if against.steps % settings.checkpointer.period == 0:
            _save(run, iteration)
        if (reports or run.world.size == 1) and run.world.any(run.stop.signum is not None):
            _leave(run, iteration)
    clock.began += time.perf_counter() - began


def _adversary_step(run: Run, batches: Any, clock: Clock, iteration: int, reports: bool) -> tuple[dict, dict]:
    """As `step`, for the adversaries; of the bare model, as DistributedDataParallel would wait for the detector's
    gradients.
    """
    against, accumulate = run.adversaries, run.settings.accumulate
    for _ in range(accumulate):
        images, targets = clock.fetch(batches)
        with run.autocast():
            losses, stats = run.model(images, targets)
        against.window.add(iteration, losses, [int(target.get("image_id", -1)) for target in targets])
        total = sum(losses.values()) / accumulate
        if total.requires_grad:
            run.scaler.scale(total).backward()
    against.average(run.world)
    norms = against.step(run.scaler, True, reports)
    if against.parameters:
        run.scaler.update()
    clock.steps += 1
    return stats, norms


def step(run: Run, batches: Any, clock: Clock, iteration: int, reports: bool) -> tuple[dict, dict]:
    """Take one step of the optimizer over `accumulate` batches.

    Returns the stats of the last batch and, on an iteration that reports, norms of gradients; both are unread: nothing
    has waited for them.
    """
    settings, norms = run.settings, {}
    run.schedule.set(iteration - 1)
    for part in range(settings.accumulate):
        images, targets = clock.fetch(batches)
        more_follow = run.world.size > 1 and part + 1 < settings.accumulate
        with run.parallel.no_sync() if more_follow else contextlib.nullcontext():
            with run.autocast():
                losses, stats = run.parallel(images, targets)
            run.window.add(iteration, losses, [int(target.get("image_id", -1)) for target in targets])
            if reports and part + 1 == settings.accumulate:
                norms = gradient_norms(run.model, losses, run.scaler)
            run.scaler.scale(sum(losses.values()) / settings.accumulate).backward()
    if settings.clip_grad.max_norm or reports:
        run.scaler.unscale_(run.optimizer)
    norm = run.clipping(run.parameters, wanted=reports)
    run.scaler.step(run.optimizer)
    norms.update(run.adversaries.step(run.scaler, False, reports))
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.ema:
        run.ema.update()
    clock.steps += 1
    run.progress.step()
    return stats, {**norms, "gradient_norm": norm}


def report_of(run: Run, side: Run | Adversaries, clock: Clock, stats: dict, norms: dict) -> tuple[dict, dict]:
    """Return scalars and histograms of a report on the detector (`side` is the run) or its adversaries. The losses come
    first: reading them waits for the device, so times are right.
    """
    scalars = side.window.read()
    scalars.update({name: float(norm) for name, norm in norms.items()})
    scalars = box_over_cls(run.world.mean_of(scalars))
    if side.optimizer is not None:
        scalars["lr"] = max(group["lr"] for group in side.optimizer.param_groups)
    scalars.update(side.clipping.read())
    scalars.update(clock.read(run.device, run.world.size))
    more, histograms = read_stats(stats, run.groups)
    return {**scalars, **more}, histograms


def _evaluate(run: Run, iteration: int) -> dict[str, Any]:
    """Evaluate, log, and keep the weights if they are the best. A signal gives it up; --resume starts it again."""
    try:
        with run.stop.breakable(run.world.size == 1):
            report = validate(run)
    except AskedToStop:
        _leave(run, iteration)
    name, best = run.settings.best_metric, run.best
    value = metric_of(report["scalars"], name)
    best.evaluated, best.waited = iteration, best.waited + 1
    if value is not None and is_better(name, value, best.value):
        best.value, best.iteration, best.waited = value, iteration, 0
        if run.world.main:
            with run.evaluated_weights():
                weights = cpu_copy(run.model.state_dict())
            run.checkpoints.save_best({"model": weights, "iteration": iteration, **run.origin})
    run.log.write(iteration, "val", report["scalars"], report["histograms"])
    run.log.pictures(iteration, "val", report["pictures"])
    shown = ["not defined" if number is None else f"{number:.4f}" for number in (value, best.value)]
    run.progress.say(f"evaluation after {iteration}: {name} {shown[0]}, best {shown[1]} after {best.iteration}")
    return report


def due(iteration: int, period: int, last: int) -> bool:
    """Return whether what happens every `period` iterations (0: never) and at the end happens now."""
    return iteration == last or (period > 0 and iteration % period == 0)


def _waited_enough(run: Run) -> bool:
    """Early stopping."""
    patience = run.settings.early_stopping.patience
    if not patience or run.best.waited < patience:
        return False
    run.progress.say(f"early stop: {run.best.waited} evaluations without a better {run.settings.best_metric}")
    return True


def _save(run: Run, iteration: int, named: bool = False) -> None:
    state = run.state(iteration)
    if run.world.main:
        run.checkpoints.save(state, named=named)


def _leave(run: Run, iteration: int) -> None:
    _save(run, iteration)
    run.progress.say(f"stopped after iteration {iteration}, its state is in {run.checkpoints.folder / LAST}")
    raise Interrupted(run.stop.signum or 15, iteration)


def _finish(run: Run, iteration: int, report: dict | None) -> dict[str, Any]:
    """Write and return result.json."""
    evaluation = report["result"] if report else None
    result = {
        "iteration": iteration,
        "output_dir": str(run.checkpoints.folder),
        "best_metric": run.settings.best_metric,
        "best": {"value": run.best.value, "iteration": run.best.iteration},
        "clipped_share": run.clipping.of_run(),
        "adversary_steps": run.adversaries.steps,
        "metrics": dict(evaluation.metrics) if evaluation else {},
        "evaluation": evaluation.to_dict() if evaluation else None,
    }
    if run.adversaries.steps:
        run.progress.say(f"{iteration} detector updates + {run.adversaries.steps} adversary steps")
    if result["clipped_share"] is not None:
        run.progress.say(f"gradients were clipped in {result['clipped_share']:.1%} of the iterations")
    if evaluation:
        run.progress.say("\n" + evaluation.to_text())
    if run.world.main:
        write_json(run.checkpoints.folder / RESULT, result, "Checkpoints are untouched.")
    return result
