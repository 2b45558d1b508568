import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from photopeak.core import Study
from photopeak.core.errors import BadArgument, BadCheckpoint, MissingInput
from photopeak.learn.loop import Budget, fit
from photopeak.methods.heart_slices import in_chunks
from photopeak.methods.padm import PADM, CorrectionNetwork, PADMTeacher, attention_transfer
from photopeak.testing import check_method


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
        "nac": torch.rand(count, 3, 24, 24, generator=generator),
        "place": torch.rand(count, 4, generator=generator),
    }

    def network(part: Any) -> torch.Tensor:
        y = part["nac"][:, 1:2]
        return student._network(y, part["nac"], part["place"], y, torch.full((len(y),), 20))

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


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_untrained_network_starts_at_the_population_factor(alpha: float) -> None:
    network = CorrectionNetwork(context=1, channels=(8, 16, 24), paths=16, alpha=alpha, factor=3.2)
    y = torch.rand(2, 1, 16, 16) * 2 - 1
    answer = network(y, y, torch.zeros(2, 4), y, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(answer, y, rtol=1e-4, atol=1e-4)


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
    x0, y = batch["ac"], batch["nac"][:, 1:2]
    times = torch.randint(student.bridge.steps, (2,), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    m, sd = (v.float()[times].reshape(-1, 1, 1, 1) for v in (student.bridge.m, student.bridge.delta.sqrt()))
    x_t = (1 - m) * x0 + m * y + sd * noise
    answer = student._network(x_t, batch["nac"], batch["place"], y, times)
    printed = (m * (y - x0) + sd * noise - (x_t - answer)).abs().mean()
    assert player == "net"
    assert not rest
    torch.testing.assert_close(loss, printed, rtol=1e-4, atol=1e-6)


def test_attention_transfer_is_blind_to_scale_and_sees_place(generator: torch.Generator) -> None:
    features = torch.randn(2, 5, 8, 8, generator=generator)
    assert float(attention_transfer(features, 3 * features)) < 1e-5
    assert float(attention_transfer(features, features.flip(-1))) > 0.1


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
            return float(F.l1_loss(student.answer(batch, torch.Generator().manual_seed(0)), batch["ac"][:, 0]))

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
