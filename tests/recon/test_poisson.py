import math

import pytest
import torch

from photopeak.recon.poisson import deviance, log_likelihood


def test_it_is_the_logarithm_of_poisson_probability_but_for_a_constant(system, poisson):
    A, counts = system(1), poisson(1, (5, 1, 2))
    one, other = (torch.rand((1, 2, 3), generator=torch.Generator().manual_seed(n)).double() + 0.1 for n in (1, 2))
    expected = []
    for image in (one, other):
        law = torch.distributions.Poisson(A(image) + 0.7)
        expected.append(float(law.log_prob(counts).sum()))
    found = [float(log_likelihood(A, image, counts, background=0.7)) for image in (one, other)]
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1])


def test_an_empty_bin_that_expects_nothing_costs_nothing(system):
    A, zero = system(2), torch.zeros(1, 2, 3, dtype=torch.float64)
    counts = torch.zeros(5, 1, 2, dtype=torch.float64)
    assert float(log_likelihood(A, zero, counts)) == 0
    counts[0] = 1
    assert float(log_likelihood(A, zero, counts)) == -math.inf


def test_sums_are_float64(system, poisson):
    A = system(3)
    A.table = A.table.float()
    assert log_likelihood(A, torch.ones(1, 2, 3), poisson(3, (5, 1, 2)).float()).dtype == torch.float64


def test_exact_counts_are_most_likely_at_the_truth(system, generator):
    A, truth = system(4), torch.full((1, 2, 3), 2.0, dtype=torch.float64)
    best = log_likelihood(A, truth, A(truth))
    for _ in range(10):
        other = truth + 0.3 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
        assert log_likelihood(A, other, A(truth)) < best


def test_deviance_is_zero_for_a_perfect_fit_and_a_sum_of_known_terms(system, poisson):
    A, truth, counts = system(5), torch.ones(1, 2, 3, dtype=torch.float64), poisson(5, (5, 1, 2))
    assert float(deviance(A, truth, A(truth) + 0.5, background=0.5)) == pytest.approx(0, abs=1e-10)
    terms = [y * math.log(y / m) - y + m if y else m for y, m in zip(counts.flatten(), A(truth).flatten(), strict=True)]
    assert float(deviance(A, truth, counts)) == pytest.approx(2 * float(sum(terms)))
