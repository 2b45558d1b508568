import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.recon.poisson import log_likelihood
from photopeak.recon.priors import Green, RelativeDifference
from photopeak.recon.updates import bsrem_update, em_update, inverse_sensitivity, osl_update, sensitivity

SEEDS = st.integers(0, 10_000)


def _truth(seed: int) -> torch.Tensor:
    return torch.rand((1, 2, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


@given(SEEDS, st.sampled_from([0.0, 0.5, 3.0]))
def test_the_likelihood_never_falls(system, poisson, seed, background):
    A, counts = system(seed), poisson(seed, (5, 1, 2))
    update, image = em_update(A, counts, background=background), _truth(seed)
    previous = log_likelihood(A, image, counts, background=background)
    for _ in range(20):
        image = update(image)
        now = log_likelihood(A, image, counts, background=background)
        assert now >= previous - 1e-10 * previous.abs()
        assert float(image.min()) >= 0
        previous = now


@given(SEEDS)
def test_counts_are_kept_without_background(system, poisson, seed):
    A, counts = system(seed), poisson(seed, (5, 1, 2))
    image = em_update(A, counts)(_truth(seed))
    assert float(A(image).sum()) == pytest.approx(float(counts.sum()))


@given(SEEDS, st.floats(0, 5))
def test_the_truth_stays_where_counts_are_free_of_noise(system, seed, background):
    A, truth = system(seed), _truth(seed)
    assert torch.allclose(em_update(A, A(truth) + background, background=background)(truth), truth, rtol=1e-12)


def test_background_may_differ_from_bin_to_bin(system, poisson):
    A, truth = system(1), _truth(1)
    background = poisson(2, (5, 1, 2))
    aware = em_update(A, A(truth) + background, background=background)
    assert torch.allclose(aware(truth), truth, rtol=1e-12)
    assert not torch.allclose(em_update(A, A(truth) + background)(truth), truth, rtol=0.1)


def test_voxels_that_no_bin_sees_stay_as_they_are(system, poisson):
    A = system(3)
    A.table[..., 4] = 0
    image = em_update(A, poisson(3, (5, 1, 2)))(torch.full((1, 2, 3), 2.5, dtype=torch.float64)).flatten()
    assert float(image[4]) == 2.5
    assert (image[[0, 1, 2, 3, 5]] != 2.5).all()


def test_bins_that_nothing_reaches_do_no_harm(system, poisson):
    A, counts = system(4), poisson(4, (5, 1, 2))
    with_dead = system(4)
    A.table[2], with_dead.table[2] = 0, 0
    changed = counts.clone()
    changed[2] += 7
    image = torch.ones(1, 2, 3, dtype=torch.float64)
    made = em_update(A, counts)(image)
    assert torch.isfinite(made).all()
    assert torch.equal(made, em_update(with_dead, changed)(image))


def test_a_batch_is_the_stack_of_its_items(system, poisson):
    A, counts = system(5), poisson(5, (2, 3, 5, 1, 2))
    images = torch.rand((2, 3, 1, 2, 3), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    together = em_update(A, counts)(images)
    for b in range(2):
        for c in range(3):
            assert torch.allclose(together[b, c], em_update(A, counts[b, c])(images[b, c]), rtol=1e-12)


def test_an_update_is_differentiable(system, poisson):
    update = em_update(system(6), poisson(6, (5, 1, 2)), background=0.5)
    assert torch.autograd.gradcheck(update, _truth(6).requires_grad_())


@given(SEEDS, st.sampled_from([Green(0.5), RelativeDifference()]))
def test_one_step_late_without_weight_is_em(system, poisson, seed, prior):
    A, counts, image = system(seed), poisson(seed, (5, 1, 2)), _truth(seed)
    assert torch.equal(osl_update(A, counts, prior, 0.0)(image), em_update(A, counts)(image))


@given(SEEDS)
def test_a_full_block_step_without_prior_is_em(system, poisson, seed):
    A, counts, image = system(seed), poisson(seed, (5, 1, 2)), _truth(seed)
    step = bsrem_update(
        A, counts, Green(1.0), 0.0, step=1.0, least=1e-9, inverse=inverse_sensitivity(A, counts), background=0.2
    )
    expected = em_update(A, counts, background=0.2)(image).clamp(min=1e-9)
    assert torch.allclose(step(image), expected, rtol=1e-12)


@given(SEEDS, st.sampled_from([Green(0.1), RelativeDifference()]), st.floats(0, 1e6))
def test_no_weight_makes_one_step_late_negative(system, poisson, seed, prior, beta):
    made = osl_update(system(seed), poisson(seed, (5, 1, 2)), prior, beta)(_truth(seed))
    assert torch.isfinite(made).all()
    assert float(made.min()) >= 0


@pytest.mark.parametrize("prior", [Green(0.5), RelativeDifference()])
def test_one_step_late_rests_where_the_posterior_is_flat(system, sharp, poisson, prior):
    A, counts = sharp(system(8)), 10 * poisson(8, (5, 1, 2))
    update, image = osl_update(A, counts, prior, 0.3, background=0.4), _truth(8)
    for _ in range(800):
        image = update(image)
    image.requires_grad_()
    objective = log_likelihood(A, image, counts, background=0.4) - 0.3 * prior.value(image)
    (slope,) = torch.autograd.grad(objective, image)
    image = image.detach()
    assert float((slope * image).abs().max()) < 1e-6
    assert float(slope.max()) < 1e-4


def test_sensitivity_is_the_column_sum(system):
    A = system(9)
    found = sensitivity(A, torch.zeros(4, 5, 1, 2, dtype=torch.float64))
    assert torch.allclose(found.flatten(), A.table.sum((0, 1, 2)))
    assert torch.allclose(inverse_sensitivity(A, found) * found, torch.ones_like(found))


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none(system, poisson, beta):
    with pytest.raises(BadArgument, match="beta"):
        osl_update(system(0), poisson(0, (5, 1, 2)), Green(1.0), beta)
