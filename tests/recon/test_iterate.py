import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument, BadValues
from photopeak.recon.iterate import dealt, mlem, osem
from photopeak.recon.updates import em_update


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
