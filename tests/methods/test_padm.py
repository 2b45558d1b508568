import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from photopeak.core import Study
from photopeak.core.errors import BadArgument, BadCheckpoint, MissingInput
from photopeak.learn.loop import Budget, fit
from photopeak.methods import shipped_weights
from photopeak.methods.heart_slices import heart_of
from photopeak.methods.padm import PADM, PADMTeacher
from photopeak.methods.slice_method import in_chunks
from photopeak.testing import check_method

SMALL: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "channels": (8, 16, 24),
    "paths": 4,
    "bridge_steps": 50,
}


def test_contract_of_the_student(student: PADM, patient: Study) -> None:
    check_method(student.using(steps=2, samples=2), patient)


def test_contract_of_the_teacher(teacher: PADMTeacher, patient: Study) -> None:
    check_method(teacher.using(steps=1), patient)


def test_student_runs_where_nothing_but_nac_exists(
    student: PADM, patient: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CT-free: no CT, no mu, no AC in the study, and no file is opened while it works."""
    everything = student.using(steps=2)(patient)
    monkeypatch.chdir(tmp_path)
    opened: list[object] = []
    watching = [True]
    sys.addaudithook(lambda event, told: opened.append(told[0]) if event == "open" and watching else None)
    alone = student.using(steps=2)(patient.only("nac"))
    watching.clear()
    assert opened == []
    assert torch.equal(alone["ac"].data, everything["ac"].data)


def test_teacher_needs_the_attenuation_map(teacher: PADMTeacher, patient: Study) -> None:
    with pytest.raises(MissingInput, match="mu"):
        teacher(patient.only("nac"))


def test_teacher_uses_the_attenuation_map(teacher: PADMTeacher, patient: Study) -> None:
    mu = patient["mu"]
    other = Study("x", volumes={"nac": patient["nac"], "mu": mu.with_data(mu.data * 0.5)}, facts=patient.facts)
    assert not torch.equal(teacher(patient)["ac"].data, teacher(other)["ac"].data)


def test_same_seed_same_bits(student: PADM, patient: Study) -> None:
    first, again, other = (student.using(steps=3, samples=2, seed=s)(patient)["ac"].data for s in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("stack", [1, 4, 9, 26])
def test_bits_do_not_depend_on_how_slices_are_batched(student: PADM, stack: int, generator: torch.Generator) -> None:
    count = 26
    batch = {
        "given": torch.rand(count, 3, 24, 24, generator=generator),
        "place": torch.rand(count, 4, generator=generator),
    }

    def network(part: Any) -> torch.Tensor:
        y = part["given"][:, 1:2]
        return student._network(y, part["given"], part["place"], y, torch.full((len(y),), 20))

    with torch.inference_mode():
        whole = in_chunks(network, batch)
        parts = [in_chunks(network, {k: v[i : i + stack] for k, v in batch.items()}) for i in range(0, count, stack)]
    assert torch.equal(whole, torch.cat(parts))


def test_samples_differ_also_where_the_sampler_injects_no_noise(student: PADM, patient: Study) -> None:
    """One step is deterministic; where the heart is cut is not."""
    assert float(student.using(steps=1, samples=3)(patient)["ac_sd"].data.max()) > 0


def test_samples_give_an_uncertainty_and_one_gives_none(student: PADM, patient: Study) -> None:
    assert float(student.using(steps=3, samples=3)(patient)["ac_sd"].data.max()) > 0
    assert float(student.using(steps=3, samples=1)(patient)["ac_sd"].data.max()) == 0


def test_scaling_the_counts_scales_the_answer(student: PADM, patient: Study) -> None:
    nac = patient["nac"]
    louder = Study("x", volumes={"nac": nac.with_data(nac.data * 8)}, facts=patient.facts)
    answer, loud = student(patient)["ac"].data, student(louder)["ac"].data
    torch.testing.assert_close(loud, 8 * answer, rtol=1e-4, atol=1e-3 * float(loud.max()))


def test_physics_made_image_never_lowers_counts(student: PADM, generator: torch.Generator) -> None:
    network = student._network
    network.alpha = 1.0
    y = torch.rand(3, 1, 24, 24, generator=generator) * 2 - 1
    answer = network(y, y.expand(-1, 3, -1, -1), torch.zeros(3, 4), y, torch.zeros(3, dtype=torch.long))
    counts, corrected = (y + 1) / 2, (answer + 1) / 2 * network.factor
    assert bool((corrected >= counts * (1 - 1e-5)).all())


def test_first_turn_is_the_printed_loss(student: PADM, patient: Study) -> None:
    """Algorithm 1: || m (y - x0) + sqrt(d) eps - (x_t - X) ||_1 is L1(X, x0): the noise cancels."""
    batch = student.batches([patient], seed=0).batch(2, torch.Generator().manual_seed(1))
    (player, loss), *rest = student.turns(batch, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    x0, y = batch["target"], batch["given"][:, 1:2]
    times = torch.randint(student.bridge.steps, (2,), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    m, sd = (v.float()[times].reshape(-1, 1, 1, 1) for v in (student.bridge.m, student.bridge.delta.sqrt()))
    x_t = (1 - m) * x0 + m * y + sd * noise
    answer = student._network(x_t, batch["given"], batch["place"], y, times)
    printed = (m * (y - x0) + sd * noise - (x_t - answer)).abs().mean()
    assert player == "net"
    assert not rest
    torch.testing.assert_close(loss, printed, rtol=1e-4, atol=1e-6)


def test_student_starts_from_the_teacher_and_is_pulled_by_it(
    student: PADM, teacher: PADMTeacher, patient: Study
) -> None:
    student.learn_from(teacher)
    batch = student.batches([patient], seed=0).batch(2, torch.Generator().manual_seed(1))
    assert {"mu", "path"} <= set(batch)
    for mine, theirs in zip(student._network.parameters(), teacher._network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert not theirs.requires_grad
    ((_, loss),) = student.turns(batch, torch.Generator().manual_seed(2))
    loss.backward()
    assert all(p.grad is not None for p in student._network.parameters())
    assert all(p.grad is None for p in teacher.players.parameters())
    student.teacher = None
    ((_, alone),) = student.turns(batch, torch.Generator().manual_seed(2))
    assert float(loss.detach()) > float(alone.detach())


def test_teacher_of_another_shape_is_refused(teacher: PADMTeacher) -> None:
    with pytest.raises(BadArgument, match="teacher"):
        PADM().learn_from(teacher)


def test_training_lowers_the_loss(student: PADM, patient: Study, tmp_path: Path) -> None:
    batch = student.batches([patient], seed=0).batch(8, torch.Generator().manual_seed(99))

    def loss() -> float:
        with torch.no_grad():
            return float(F.l1_loss(student.answer(batch, torch.Generator().manual_seed(0)), batch["target"][:, 0]))

    before = loss()
    fit(student, [patient], tmp_path, budget=Budget(max_steps=25, batch_size=4, warmup_steps=5, learning_rate=2e-3))
    assert loss() < 0.8 * before


def test_weights_travel(student: PADM, patient: Study, tmp_path: Path) -> None:
    student.save(tmp_path / "w.safetensors", card={"domain": "test"})
    again = PADM.restored(tmp_path / "w.safetensors")
    assert again.card == {"domain": "test"}
    assert again.weights_sha256() == student.weights_sha256()
    assert torch.equal(again(patient)["ac"].data, student(patient)["ac"].data)


def test_weights_of_another_method_are_refused(student: PADM, tmp_path: Path) -> None:
    student.save(tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match="padm_teacher"):
        PADMTeacher.restored(tmp_path / "w.safetensors")


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 51}, {"samples": 0}])
def test_bad_settings_are_refused(student: PADM, settings: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        student.using(**settings)


@pytest.mark.parametrize(
    "given", [{"alpha": 2.0}, {"paths": 0}, {"acf_domain": "hu"}, {"distil": "none"}, {"transfer": -1.0}]
)
def test_arguments_outside_their_meaning_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(given))):
        PADM(**SMALL | given)
    with pytest.raises(BadArgument, match="mu_weight"):
        PADMTeacher(**SMALL, mu_weight=-1.0)


@pytest.mark.parametrize(
    "given",
    [
        {"acf_domain": "network"},
        {"paths": 32, "alpha": 1.0},
        {"feed": {"size": 24, "depth": 14, "neighbours": 0}},
        {"registered": False},
        {"registered": False, "mu_weight": 0.1, "feed": {"size": 24, "depth": 14, "neighbours": 0}},
    ],
)
def test_every_option_trains_answers_and_teaches(given: dict[str, Any], patient: Study, tmp_path: Path) -> None:
    """An option is one when its answer is finite, its weights travel, and a student can learn from it."""
    torch.manual_seed(4)
    teacher = PADMTeacher(**SMALL | given)
    budget = Budget(max_steps=2, batch_size=2, warmup_steps=1)
    fit(teacher, [patient], tmp_path / "teacher", budget=budget)
    again = PADMTeacher.restored(tmp_path / "teacher" / "weights.safetensors")
    assert again.arguments == {**teacher.arguments, **again.arguments}
    assert torch.equal(again(patient)["ac"].data, teacher(patient)["ac"].data)
    student = PADM(
        **{k: v for k, v in (SMALL | given).items() if k not in ("registered", "mu_weight")}, distil="middle"
    )
    student.learn_from(again)
    fit(student, [patient], tmp_path / "student", budget=budget)
    assert bool(torch.isfinite(student(patient.only("nac"))["ac"].data).all())


def test_unregistered_teacher_sees_the_whole_transaxial_map_beside_every_slice(patient: Study) -> None:
    torch.manual_seed(5)
    teacher = PADMTeacher(**SMALL, registered=False)
    batch = teacher.batches([patient], seed=0).batch(3, torch.Generator().manual_seed(1))
    assert batch["body"].shape == (3, 24, 24, 24)
    assert "path" not in batch
    whole = teacher.fused(batch)
    assert whole.shape == batch["given"].shape
    turned = teacher.fused({**batch, "body": batch["body"].flip(-1)})
    assert not torch.allclose(whole, turned)
    check_method(teacher, patient)


def test_unturned_map_is_axial(teacher: PADMTeacher, patient: Study) -> None:
    """A map that depends on height alone depends on the first axis of "body" alone."""
    mu = patient["mu"]
    ramp = mu.with_data(0.001 * torch.arange(mu.grid.shape[0]).reshape(-1, 1, 1).expand(mu.grid.shape).to(mu.data))
    sloped = Study("x", {"nac": patient["nac"], "mu": ramp}, facts=patient.facts)
    grid = heart_of(sloped).grid((8, 8, 8), 6.4)
    cubes = teacher.cubes(teacher.prepared(sloped), grid)
    torch.testing.assert_close(cubes["body"], cubes["body"][:, :1, :1].expand(8, 8, 8), rtol=1e-4, atol=1e-5)
    steps = cubes["body"][:, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.001 / 0.15), rtol=1e-3, atol=1e-5)
    assert float(cubes["mu"].std(0).max()) > 0


def test_supervised_mu_comes_nearer_the_map(patient: Study) -> None:
    """L_mu is zero only at the CT's mu: it alone, at weight 1, is what the loss grows by."""
    torch.manual_seed(6)
    free, told = (PADMTeacher(**SMALL, mu_weight=weight) for weight in (0.0, 1.0))
    told.players.load_state_dict(free.players.state_dict())
    batch = free.batches([patient], seed=0).batch(4, torch.Generator().manual_seed(1))
    (_, loss), (_, supervised) = (next(m.turns(batch, torch.Generator().manual_seed(2))) for m in (free, told))
    start = torch.nn.functional.softplus(torch.tensor(free._network.start))
    expected = (start - batch["mu"][:, 1]).abs().mean()
    torch.testing.assert_close(supervised - loss, expected, rtol=1e-3, atol=1e-4)


def test_student_and_teacher_may_differ_in_how_they_are_taught(patient: Study) -> None:
    student, teacher = PADM(**SMALL, distil="encoder"), PADMTeacher(**SMALL, registered=False, mu_weight=0.3)
    student.learn_from(teacher)
    assert student.mu_weight == 0
    with pytest.raises(BadArgument, match="alpha"):
        PADM(**SMALL, alpha=1.0).learn_from(teacher)


def test_shipped_weights_load() -> None:
    assert PADM.restored(shipped_weights("padm")).arguments["acf_domain"] == "counts"
