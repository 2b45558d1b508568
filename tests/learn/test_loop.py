import json
from pathlib import Path

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, BadCheckpoint, BadValues
from photopeak.learn import loop
from photopeak.learn.checkpoint import load_checkpoint
from photopeak.learn.loop import Budget, fit

STUDIES = [Study("a"), Study("b")]
HOUR = 3600.0


def _budget(steps: int, **changes: float) -> Budget:
    # The rate follows the clock as well as the steps; an hour keeps the clock out of these few steps.
    settings = {"max_seconds": 1e6 * HOUR, "learning_rate": 0.05, "warmup_steps": 5, "log_every": 5, "average": 0.9}
    return Budget(max_steps=steps, **{**settings, **changes})


def _log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_line_is_learnt(tmp_path, line):
    method = fit(line(), STUDIES, tmp_path, budget=_budget(250))
    net = method.players["net"]
    assert float(net.weight.detach()) == pytest.approx(2, abs=0.1)
    assert float(net.bias.detach()) == pytest.approx(-1, abs=0.1)
    records = _log(tmp_path)
    assert records[-1]["net"] < 0.02 * records[0]["net"]
    assert not method.players.training


def test_the_log_has_a_record_every_few_steps(tmp_path, line):
    seen = []
    fit(line(), STUDIES, tmp_path, budget=_budget(23), watch=seen.append)
    records = _log(tmp_path)
    assert [record["step"] for record in records] == [5, 10, 15, 20]
    assert all(set(record) == {"step", "seconds", "net"} for record in records)
    assert seen == records


def test_the_budget_in_steps_is_kept(tmp_path, line):
    method = line()
    fit(method, STUDIES, tmp_path, budget=_budget(7))
    assert method.taken == 7
    assert method.card["training"]["steps"] == 7


def test_every_step_draws_its_own_batch(tmp_path, line):
    method = line()
    fit(method, STUDIES, tmp_path, budget=_budget(20))
    assert len(set(method.drawn)) == 20


def test_the_budget_in_seconds_is_kept(tmp_path, line):
    method = line()
    fit(method, STUDIES, tmp_path, budget=_budget(1_000_000, max_seconds=0.05))
    assert 1 <= method.taken < 10_000


def test_the_rate_warms_up_and_falls():
    budget = Budget(max_seconds=100.0, max_steps=1000, learning_rate=1.0, warmup_steps=10)
    assert budget.rate(0, 0.0) == pytest.approx(0.1)
    assert budget.rate(10, 0.0) == pytest.approx(1.0, abs=1e-3)
    assert budget.rate(500, 0.0) == pytest.approx(0.51)
    assert budget.rate(20, 50.0) == budget.rate(500, 50.0)
    assert budget.rate(1000, 0.0) == pytest.approx(0.02)
    assert budget.rate(1000, 500.0) == pytest.approx(0.02)


def test_players_take_turns_and_move_alone(tmp_path, duel):
    method = fit(duel(), STUDIES, tmp_path, budget=_budget(60))
    assert method.moved == [(True, False), (False, True)] * 60
    records = _log(tmp_path)
    assert set(records[0]) == {"step", "seconds", "critic", "generator"}
    assert records[-1]["generator"] < 0.5 * records[0]["generator"]


@pytest.mark.parametrize("kind", ["line", "duel"])
def test_the_seed_alone_decides(tmp_path, request, kind):
    method = request.getfixturevalue(kind)
    hashes = [
        fit(method(), STUDIES, tmp_path / name, budget=_budget(9), seed=seed).weights_sha256()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_result_is_the_moving_average(tmp_path, line):
    method = fit(line(), STUDIES, tmp_path, budget=_budget(12), card={"cohort": "toy"})
    state, _ = load_checkpoint(tmp_path / "training.safetensors")
    weights, header = load_checkpoint(tmp_path / "weights.safetensors")
    assert torch.equal(weights["net.weight"], state["average/net.weight"])
    assert not torch.equal(weights["net.weight"], state["weights/net.weight"])
    assert header["card"]["cohort"] == "toy"
    assert header["card"]["training"]["studies"] == 2
    assert header["card"]["training"]["learning_rate"] == 0.05
    found = line.restored(tmp_path / "weights.safetensors")
    assert found.weights_sha256() == method.weights_sha256()


@pytest.mark.parametrize("save_every_seconds", [0.0, HOUR])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, line, save_every_seconds):
    budget = _budget(15, save_every_seconds=save_every_seconds)
    whole = fit(line(), STUDIES, tmp_path / "whole", budget=budget)
    broken = line()
    broken.fails_at = (8, "power cut")
    with pytest.raises(InterruptedError):
        fit(broken, STUDIES, tmp_path / "cut", budget=budget)
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    saved = tmp_path / "cut" / "training.safetensors"
    assert saved.exists() == (save_every_seconds == 0)

    again = line()
    resumed = fit(again, STUDIES, tmp_path / "cut", budget=budget)
    assert again.taken == (8 if save_every_seconds == 0 else 15)
    assert resumed.weights_sha256() == whole.weights_sha256()
    one, other = (load_checkpoint(tmp_path / name / "training.safetensors") for name in ("whole", "cut"))
    assert set(one[0]) == set(other[0])
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert {**one[1], "seconds": 0} == {**other[1], "seconds": 0}
    losses = [[(r["step"], r["net"]) for r in _log(tmp_path / name)] for name in ("whole", "cut")]
    assert losses[0][-1] == losses[1][-1]


def test_steps_lost_with_a_kill_are_logged_once(tmp_path, line):
    fit(line(), STUDIES, tmp_path, budget=_budget(10))
    (tmp_path / "log.jsonl").open("a").write('{"step": 15, "net": 1.0}\n{"step": 20, "ne')
    fit(line(), STUDIES, tmp_path, budget=_budget(20))
    assert [record["step"] for record in _log(tmp_path)] == [5, 10, 15, 20]


def test_two_players_resume_too(tmp_path, duel):
    half, full = _budget(5), _budget(10)
    fit(duel(), STUDIES, tmp_path, budget=half)
    method = duel()
    fit(method, STUDIES, tmp_path, budget=full)
    assert len(method.moved) == 2 * 5
    state, header = load_checkpoint(tmp_path / "training.safetensors")
    assert header["step"] == header["average_updates"] == 10
    assert all(float(state[f"adam/{player}/0/step"]) == 10 for player in ("critic", "generator"))


def test_a_finished_run_is_not_trained_again(tmp_path, line):
    first = fit(line(), STUDIES, tmp_path, budget=_budget(6))
    again = line()
    assert fit(again, STUDIES, tmp_path, budget=_budget(6)).weights_sha256() == first.weights_sha256()
    assert again.taken == 0


def test_other_arguments_do_not_resume(tmp_path, line, duel):
    fit(line(), STUDIES, tmp_path, budget=_budget(3))
    for other in (line(slope=0.5), line(2), duel()):
        with pytest.raises(BadCheckpoint, match=r"training\.safetensors of \{"):
            fit(other, STUDIES, tmp_path, budget=_budget(6))


def test_weights_are_no_training_state(tmp_path, line):
    line().save(tmp_path / "training.safetensors")
    with pytest.raises(BadCheckpoint, match="training checkpoint"):
        fit(line(), STUDIES, tmp_path, budget=_budget(3))


def test_no_studies(tmp_path, line):
    with pytest.raises(BadArgument, match="no training studies"):
        fit(line(), [], tmp_path / "out", budget=_budget(3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_and_spoils_nothing_saved(tmp_path, line, value):
    method = line()
    method.fails_at = (4, value)
    with pytest.raises(BadValues, match=r"a loss of (nan|inf) of net of line at step 3"):
        fit(method, STUDIES, tmp_path, budget=_budget(9, save_every_seconds=0.0))
    state, header = load_checkpoint(tmp_path / "training.safetensors")
    assert header["step"] == 3
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_processor_seconds_do_not_count_waiting(tmp_path, line, monkeypatch):
    seconds = iter(range(1000))
    monkeypatch.setitem(loop._CLOCKS, "cpu", lambda: 0.5 * next(seconds))
    method = fit(line(), STUDIES, tmp_path, budget=_budget(1000, max_seconds=2.0, clock="cpu"))
    assert method.card["training"]["steps"] == 4
    assert method.card["training"]["clock"] == "cpu"


def test_an_unknown_clock_is_refused():
    with pytest.raises(BadArgument, match="sun"):
        Budget(clock="sun")
