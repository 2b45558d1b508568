from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.recon.iterate import bsrem, dealt, mlem, osem
from photopeak.recon.poisson import deviance, log_likelihood
from photopeak.recon.priors import Green, RelativeDifference
from photopeak.recon.stopping import Stop
from photopeak.recon.updates import em_update, osl_update


@given(st.data())
def test_views_are_dealt_once_and_evenly(data):
    views = data.draw(st.integers(1, 130))
    subsets = data.draw(st.integers(1, views))
    parts = dealt(views, subsets)
    assert len(parts) == subsets
    assert sorted(view for part in parts for view in part) == list(range(views))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_successive_subsets_lie_apart():
    assert [part[0] for part in dealt(16, 8)] == [0, 4, 2, 6, 1, 5, 3, 7]
    assert dealt(5, 1) == [[0, 1, 2, 3, 4]]


def test_mlem_is_the_update_in_a_loop(system, poisson):
    A, counts = system(1), poisson(1, (5, 1, 2))
    image, update = torch.ones(1, 2, 3, dtype=torch.float64), em_update(A, counts, background=0.3)
    for _ in range(4):
        image = update(image)
    assert torch.equal(mlem(A, counts, iterations=4, background=0.3), image)


@given(st.integers(0, 10_000))
def test_one_subset_is_mlem(system, poisson, seed):
    A, counts = system(seed), poisson(seed, (5, 1, 2))
    one = osem(A, counts, iterations=5, subsets=1)
    assert torch.equal(one, mlem(A, counts, iterations=5))
    assert float(A(one).sum()) == pytest.approx(float(counts.sum()))


@pytest.mark.parametrize("subsets", range(1, 8))
def test_any_number_of_subsets_keeps_the_truth_of_exact_counts(system, subsets):
    # The uniform image that the loop starts from is the truth here.
    A, background = system(2, views=7), torch.linspace(0, 2, 14, dtype=torch.float64).reshape(7, 1, 2)
    truth = torch.ones(1, 2, 3, dtype=torch.float64)
    made = osem(A, A(truth) + background, iterations=3, subsets=subsets, background=background)
    assert torch.allclose(made, truth, rtol=1e-12)


@pytest.mark.parametrize("subsets", range(1, 8))
def test_any_number_of_subsets_is_one_update_for_each(system, poisson, subsets):
    A, counts = system(2, views=7), poisson(2, (7, 1, 2))
    image = torch.ones(1, 2, 3, dtype=torch.float64)
    for part in dealt(7, subsets) * 2:
        image = em_update(A.views(part), counts[part])(image)
    assert torch.equal(osem(A, counts, iterations=2, subsets=subsets), image)


# Subsets that see too differently (one view of these few bins) may run in a circle; OSEM promises nothing there.
@pytest.mark.parametrize("subsets", [1, 2, 4])
def test_the_truth_of_exact_counts_is_found(system, subsets):
    A = system(2, views=7)
    truth = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5, 0.8], dtype=torch.float64).reshape(1, 2, 3)
    background = torch.linspace(0, 2, 14, dtype=torch.float64).reshape(7, 1, 2)
    made = osem(A, A(truth) + background, iterations=800, subsets=subsets, background=background)
    assert torch.allclose(A(made) + background, A(truth) + background, rtol=2e-3)


def test_a_subset_sees_its_own_background_and_counts(system, poisson):
    A, counts, background = system(3, views=4), poisson(3, (4, 1, 2)), poisson(4, (4, 1, 2))
    image = torch.ones(1, 2, 3, dtype=torch.float64)
    for part in ([0, 2], [1, 3]):
        image = em_update(A.views(part), counts[part], background=background[part])(image)
    assert torch.equal(osem(A, counts, iterations=1, subsets=2, background=background), image)


@pytest.mark.parametrize("subsets", [1, 3])
def test_a_batch_is_the_stack_of_its_items(system, poisson, subsets):
    A, counts = system(5), poisson(5, (3, 5, 1, 2))
    together = osem(A, counts, iterations=3, subsets=subsets)
    assert together.shape == (3, 1, 2, 3)
    for item, one in zip(together, counts, strict=True):
        assert torch.allclose(item, osem(A, one, iterations=3, subsets=subsets), rtol=1e-12)


def test_watch_sees_every_pass(system, poisson):
    seen = []
    made = osem(
        system(6), poisson(6, (5, 1, 2)), iterations=3, subsets=2, watch=lambda n, image: seen.append((n, image))
    )
    assert [n for n, _ in seen] == [0, 1, 2]
    assert torch.equal(seen[-1][1], made)


@pytest.mark.parametrize(("iterations", "subsets"), [(0, 1), (-1, 1), (1, 0), (1, -2), (1, 6)])
def test_numbers_that_make_no_loop(system, poisson, iterations, subsets):
    with pytest.raises(BadArgument, match=f"{iterations} iterations of {subsets} subsets"):
        osem(system(0), poisson(0, (5, 1, 2)), iterations=iterations, subsets=subsets)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_counts_that_are_none(system, poisson, bad):
    counts = poisson(0, (5, 1, 2))
    counts[2, 0, 1] = bad
    with pytest.raises(BadValues, match="counts"):
        mlem(system(0), counts, iterations=1)


def test_no_counts_at_all(system):
    with pytest.raises(BadValues, match="all zero"):
        mlem(system(0), torch.zeros(5, 1, 2), iterations=1)


def test_a_voxel_that_one_subset_misses_is_told_by_the_others(system):
    A, truth = system(2, views=8), torch.tensor([[[1.0, 2.0, 0.5], [3.0, 1.5, 0.8]]], dtype=torch.float64)
    A.table[dealt(8, 2)[0], ..., 4] = 0
    A.table[..., 5] = 0
    made = osem(A, A(truth), iterations=3000, subsets=2).flatten()
    assert float(made[5]) == 0
    assert torch.allclose(made[:5], truth.flatten()[:5], rtol=0.02)


def test_a_start_is_where_the_loop_goes_on(system, poisson):
    A, counts = system(4), poisson(4, (5, 1, 2))
    halfway = osem(A, counts, iterations=2, subsets=2)
    assert torch.equal(
        osem(A, counts, iterations=3, subsets=2, start=halfway), osem(A, counts, iterations=5, subsets=2)
    )


def test_smoothing_follows_every_pass(system, poisson):
    A, counts = system(4), poisson(4, (5, 1, 2))
    by_hand = torch.ones(1, 2, 3, dtype=torch.float64)
    for _ in range(3):
        by_hand = 0.5 * osem(A, counts, iterations=1, subsets=2, start=by_hand) + 0.1
    assert torch.allclose(osem(A, counts, iterations=3, subsets=2, smooth=lambda x: 0.5 * x + 0.1), by_hand)


def _posterior(A, image, counts, prior, beta, background):
    return float(log_likelihood(A, image, counts, background=background) - beta * prior.value(image))


@pytest.mark.parametrize("prior", [Green(2.0), RelativeDifference()])
@pytest.mark.parametrize("subsets", [1, 3])
def test_falling_steps_reach_the_maximum_of_the_posterior(system, sharp, poisson, prior, subsets):
    A, beta, background = sharp(system(12, views=6)), 0.5, 2.0
    counts = 30 * poisson(12, (6, 1, 2))
    free = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([free], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def cost():
        search.zero_grad()
        image = free.square()
        expected = A(image) + background
        value = (expected - torch.xlogy(counts, expected)).sum() + beta * prior.value(image)
        value.backward()
        return value

    with torch.no_grad():
        free += mlem(A, counts, iterations=3, background=background).sqrt()
    search.step(cost)
    best = _posterior(A, free.detach().square(), counts, prior, beta, background)
    made = bsrem(A, counts, iterations=400, subsets=subsets, prior=prior, beta=beta, background=background)
    gap = best - _posterior(A, made, counts, prior, beta, background)
    start = best - _posterior(A, torch.ones_like(made), counts, prior, beta, background)
    assert abs(gap) < 1e-5 * start


def test_where_one_step_late_swings_falling_steps_do_not(system, poisson):
    A, counts, prior, beta = system(13), 100 * poisson(13, (5, 1, 2)), Green(0.01), 2.0
    late = [mlem(A, counts, iterations=n, prior=prior, beta=beta) for n in (200, 201)]
    calm = [bsrem(A, counts, iterations=n, subsets=1, prior=prior, beta=beta, relaxation=0.5) for n in (200, 201)]
    swing, drift = (float((a - b).norm() / a.norm()) for a, b in (late, calm))
    assert swing > 10 * drift


def test_a_prior_is_shared_out_among_subsets(system, poisson):
    A, counts, prior = system(2, views=6), poisson(2, (6, 1, 2)), Green(1.0)
    image = torch.ones(1, 2, 3, dtype=torch.float64)
    for part in dealt(6, 3) * 2:
        image = osl_update(A.views(part), counts[part], prior, 0.6 / 3)(image)
    assert torch.equal(osem(A, counts, iterations=2, subsets=3, prior=prior, beta=0.6), image)


def test_stopping_by_gain_keeps_what_was_gained(system, poisson):
    A, counts, passes = system(14), 50 * poisson(14, (5, 1, 2)), []
    stop = Stop.at_gain(A, counts, 0.01)
    made = mlem(A, counts, iterations=500, stop=stop, watch=lambda _, image: passes.append(image))
    fits = [float(deviance(A, image, counts)) for image in passes]
    assert 2 < len(fits) < 500
    assert all(b <= 0.99 * a for a, b in pairwise(fits[:-1]))
    assert fits[-1] > 0.99 * fits[-2]
    assert torch.equal(made, passes[-1])


def test_held_out_counts_stop_before_noise_is_fitted(system, generator):
    A = system(15, views=40)
    truth = torch.tensor([3.0, 2.0, 0.5, 3.0, 1.5, 0.8], dtype=torch.float64).reshape(1, 2, 3)
    counts = torch.poisson(A(truth) + 0.5, generator=generator)
    kept = torch.binomial(counts, torch.full_like(counts, 0.7), generator=generator)
    stop, fits = Stop.held_out(A, counts - kept, 0.3, background=0.5), []
    made = mlem(
        A, kept, iterations=3000, background=0.35, stop=stop, watch=lambda _, image: fits.append(stop.deviance(image))
    )
    assert len(fits) < 3000
    assert stop.deviance(made) == min(fits)
    assert float(stop.deviance(0.7 * truth)) < 1.5 * 80


@pytest.mark.parametrize(("name", "value"), [("least_gain", -0.1), ("least_gain", 1.0), ("share", 0.0), ("share", 1.0)])
def test_stops_that_make_no_sense(system, name, value):
    A, counts = system(0), torch.ones(5, 1, 2, dtype=torch.float64)
    with pytest.raises(BadArgument, match=name):
        Stop.at_gain(A, counts, value) if name == "least_gain" else Stop.held_out(A, counts, value)


def test_steps_that_grow_are_refused(system, poisson):
    with pytest.raises(BadArgument, match="relaxation"):
        bsrem(system(0), poisson(0, (5, 1, 2)), iterations=1, subsets=1, prior=Green(1.0), beta=1, relaxation=-1)


@pytest.mark.parametrize("loop", [osem, bsrem])
@pytest.mark.parametrize("prior", [Green(0.5), RelativeDifference()])
def test_a_batch_with_a_prior_is_the_stack_of_its_items(system, poisson, loop, prior):
    A, counts = system(5), 1 + poisson(5, (2, 5, 1, 2))
    start = torch.full((2, 1, 2, 3), 1.5, dtype=torch.float64)
    together = loop(A, counts, iterations=3, subsets=2, prior=prior, beta=0.2, start=start)
    for item, one, first in zip(together, counts, start, strict=True):
        assert torch.allclose(item, loop(A, one, iterations=3, subsets=2, prior=prior, beta=0.2, start=first))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_a_background_that_is_none(system, poisson, bad):
    A, counts = system(0), poisson(0, (5, 1, 2))
    for background in (bad, torch.full_like(counts, bad)):
        with pytest.raises(BadValues, match="background"):
            osem(A, counts, iterations=1, subsets=2, background=background)


def test_counts_or_background_of_other_views(system, poisson):
    A, counts = system(0), poisson(0, (5, 1, 2))
    for seen, background in ((counts[:4], 0.0), (counts[0], 0.0), (counts, counts[:4]), (counts, counts[0])):
        with pytest.raises(ShapeMismatch, match="views"):
            osem(A, seen, iterations=1, subsets=2, background=background)


def test_a_background_may_be_a_tensor_of_one_number(system, poisson):
    A, counts = system(0), poisson(0, (5, 1, 2))
    made = (osem(A, counts, iterations=1, subsets=2, background=b) for b in (0.25, torch.tensor(0.25)))
    assert torch.equal(*made)


def test_whole_numbers_of_a_whole_type(system, poisson):
    with pytest.raises(BadArgument, match=r"counts.float\(\)"):
        osem(system(0), poisson(0, (5, 1, 2)).int(), iterations=1, subsets=2)


def test_a_start_that_is_no_image(system, poisson):
    A, counts, image = system(0), poisson(0, (5, 1, 2)), torch.ones(1, 2, 3, dtype=torch.float64)
    for start in (-image, image * float("nan")):
        with pytest.raises(BadValues, match="start"):
            osem(A, counts, iterations=1, subsets=2, start=start)
    with pytest.raises(ShapeMismatch, match="start"):
        osem(A, counts, iterations=1, subsets=2, start=image[..., :2])


def test_images_of_a_batch_have_their_own_floor(system, poisson):
    A, counts = system(0), poisson(0, (5, 1, 2))
    settings = {"iterations": 30, "subsets": 2, "prior": Green(1e-3), "beta": 1e-6}
    alone = bsrem(A, counts, **settings)
    beside = bsrem(A, torch.stack([counts, 1e7 * counts]), **settings)[0]
    assert torch.allclose(beside, alone, rtol=1e-9)
