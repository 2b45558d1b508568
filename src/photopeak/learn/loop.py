"""The one training loop: it knows whose turn it is, and nothing about what is learnt."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from photopeak.core import Study
from photopeak.core.errors import BadArgument, BadCheckpoint, BadValues
from photopeak.core.random import stream
from photopeak.learn.average import MovingAverage
from photopeak.learn.checkpoint import load_checkpoint, save_checkpoint
from photopeak.learn.learned import LearnedMethod

CHECKPOINT = "training.safetensors"
Watch = Callable[[Mapping[str, float]], None]
_CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Budget:
    """How long and how to train.

    Parameters
    ----------
    max_seconds : stop after so many seconds of stepping (preparing the data not counted).
    max_steps : or after so many steps, whichever comes first.
    batch_size : items in a step.
    learning_rate : Adam's, after warm-up; falls along a cosine to a fiftieth at the end of the budget.
    average : decay of the moving average that is kept as the result.
    save_every_seconds : time between checkpoints; a kill loses at most that much.
    clock : "wall", or "cpu" for processor seconds, with which a busy machine treats all methods alike.
    """

    max_seconds: float = 1800.0
    max_steps: int = 1_000_000
    batch_size: int = 8
    learning_rate: float = 5e-4
    average: float = 0.999
    save_every_seconds: float = 60.0
    warmup_steps: int = 100
    log_every: int = 20
    clock: Literal["wall", "cpu"] = "wall"

    def __post_init__(self) -> None:
        if self.clock not in _CLOCKS:
            raise BadArgument(f"clock {self.clock!r}", needed=" or ".join(_CLOCKS), remedy="Use one of these.")

    def now(self) -> float:
        """Seconds by the budget's clock, from an arbitrary zero."""
        return _CLOCKS[self.clock]()

    def progress(self, step: int, seconds: float) -> float:
        return max(step / self.max_steps, seconds / self.max_seconds)

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate at a step."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(step, seconds))))
        return self.learning_rate * warm * (0.02 + 0.98 * fall)


class _Run:
    """The state of a training run: optimisers, averages, step and seconds so far."""

    def __init__(self, method: LearnedMethod, budget: Budget, identity: Mapping[str, Any]) -> None:
        self.method, self.budget = method, budget
        self.identity = json.loads(json.dumps({"method": method.name, "arguments": dict(method.arguments), **identity}))
        self.optimisers = {
            name: torch.optim.Adam(
                [p for p in player.parameters() if p.requires_grad], lr=budget.learning_rate, betas=method.betas
            )
            for name, player in method.players.items()
            if any(p.requires_grad for p in player.parameters())
        }
        self.average = MovingAverage(method.players, budget.average)
        self.step, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        tensors: dict[str, Tensor] = {f"weights/{k}": v for k, v in self.method.players.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.weights.items()}
        for player, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"adam/{player}/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
        header = {
            "kind": "training",
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "average_updates": self.average.updates,
        }
        save_checkpoint(path, tensors, header)

    def resume(self, path: Path) -> None:
        tensors, header = load_checkpoint(path)
        if header.get("kind") != "training" or header.get("identity") != self.identity:
            raise BadCheckpoint(
                f"{path.name} of {header.get('identity')}",
                needed=f"a training checkpoint of {self.identity}",
                remedy="Resume with the same recipe, seed and cohort, or start in an empty folder.",
            )
        self.method.use_weights(_under("weights/", tensors))
        self.average.weights = _under("average/", tensors)
        self.average.updates = header["average_updates"]
        self.step, self.seconds = header["step"], header["seconds"]
        for player, optimiser in self.optimisers.items():
            record = optimiser.state_dict()
            record["state"] = {}
            for key, value in _under(f"adam/{player}/", tensors).items():
                index, field = key.split("/")
                record["state"].setdefault(int(index), {})[field] = value
            optimiser.load_state_dict(record)


def fit(
    method: LearnedMethod,
    studies: Sequence[Study],
    out: Path,
    *,
    budget: Budget,
    seed: int = 0,
    card: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    keep: Path | None = None,
) -> LearnedMethod:
    """Train a method on studies; the moving average of its weights ends in ``out/weights.safetensors``.

    Continues from ``out/training.safetensors`` where there is one. Every step draws its batch and noise from a
    generator seeded with (seed, step); with a budget in steps, an interrupted run ends
    with the same bits as an uninterrupted one.

    Parameters
    ----------
    studies : training patients, with what the method's `batches` needs.
    out : folder for checkpoint, weights and ``log.jsonl``.
    card : facts to travel in the weights' header (cohort, licence).
    watch : called with the record of every logged step.
    keep : folder for training examples that other trainings on the same studies can use again.
    """
    if not studies:
        raise BadArgument(
            "no training studies", needed="at least one", remedy="Simulate or import a cohort with a train split."
        )
    out.mkdir(parents=True, exist_ok=True)
    batches = method.batches(studies, seed=seed, keep=keep)
    method.solve(batches)
    run = _Run(method, budget, {"seed": seed, "studies": len(studies), **(card or {})})
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        run.resume(checkpoint)
    saved = run.seconds
    method.players.train()
    _forget_after(out / "log.jsonl", run.step)
    with (out / "log.jsonl").open("a") as log:
        while run.optimisers and budget.progress(run.step, run.seconds) < 1:
            began = budget.now()
            losses = _step(run, batches, seed)
            run.step += 1
            run.seconds += budget.now() - began
            if run.step % budget.log_every == 0:
                record = {"step": run.step, "seconds": round(run.seconds, 2), **losses}
                log.write(json.dumps(record) + "\n")
                log.flush()
                if watch is not None:
                    watch(record)
            if run.seconds - saved >= budget.save_every_seconds:
                run.save(checkpoint)
                saved = run.seconds
    run.save(checkpoint)
    method.use_weights(run.average.weights)
    method.players.eval()
    trained = {
        "studies": len(studies),
        "steps": run.step,
        "seconds": round(run.seconds),
        "seed": seed,
        **asdict(budget),
    }
    method.card = {**(card or {}), "training": trained}
    method.save(out / "weights.safetensors")
    return method


def _step(run: _Run, batches: Any, seed: int) -> dict[str, float]:
    generator = stream(seed, run.step)
    batch = batches.batch(run.budget.batch_size, generator)
    losses: dict[str, float] = {}
    for player, loss in run.method.turns(batch, generator):
        optimiser = run.optimisers[player]
        for group in optimiser.param_groups:
            group["lr"] = run.budget.rate(run.step, run.seconds)
        losses[player] = float(loss.detach())
        if not math.isfinite(losses[player]):
            raise BadValues(
                f"a loss of {losses[player]} of {player} of {run.method.name} at step {run.step}",
                needed="a finite loss",
                remedy="Lower the learning rate and continue from the last checkpoint.",
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.method.players[player].parameters(), 1.0)
        optimiser.step()
    run.average.update(run.method.players)
    return losses


def _forget_after(log: Path, step: int) -> None:
    """Drop the records of steps that were lost with a kill and will be taken again."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        log.write_text("".join(kept))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
