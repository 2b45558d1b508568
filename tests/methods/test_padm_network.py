from typing import Any

import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.methods.padm_network import CorrectionNetwork, attention_transfer

SMALL: dict[str, Any] = {"context": 1, "channels": (8, 16, 24), "paths": 4, "alpha": 0.5, "factor": 3.2}


def answer_of(network: CorrectionNetwork, y: Tensor) -> Tensor:
    return network(y, y, torch.zeros(len(y), 4), y, torch.zeros(len(y), dtype=torch.long))


@pytest.mark.parametrize("paths", [1, 16, 32, 64])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_untrained_network_starts_at_the_population_factor(alpha: float, paths: int) -> None:
    network = CorrectionNetwork(**SMALL | {"alpha": alpha, "paths": paths})
    y = torch.rand(2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(answer_of(network, y), y, rtol=1e-4, atol=1e-4)


def test_untrained_network_of_the_published_domain_starts_near_the_slice() -> None:
    network = CorrectionNetwork(**SMALL | {"alpha": 1.0, "acf_domain": "network"})
    y = torch.rand(2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(answer_of(network, y), y * 1.0408, rtol=1e-3, atol=1e-4)


def test_product_in_counts_scales_counts_and_the_published_one_does_not() -> None:
    """In -1 to 1 half the maximum stays whatever the factor, and an empty pixel falls below zero counts."""
    y, acf = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(2 * 3.2)
    physical, printed = (
        CorrectionNetwork(**SMALL | {"acf_domain": d}).corrected(y, acf) for d in ("counts", "network")
    )
    torch.testing.assert_close(physical, torch.tensor([-1.0, 1.0, 3.0]))
    torch.testing.assert_close(printed, torch.tensor([-6.4, 0.0, 6.4]))


def test_alpha_joins_the_two_images(generator: torch.Generator) -> None:
    networks = [CorrectionNetwork(**SMALL | {"alpha": alpha}) for alpha in (0.0, 0.5, 1.0)]
    weights = {n: torch.randn(v.shape, generator=generator) * 0.05 for n, v in networks[0].state_dict().items()}
    y = torch.rand(2, 1, 16, 16, generator=generator)
    with torch.no_grad():
        for network in networks:
            network.load_state_dict(weights)
        auxiliary, joined, physical = (answer_of(network, y) for network in networks)
    assert not torch.allclose(auxiliary, physical, atol=1e-3)
    torch.testing.assert_close(joined, (auxiliary + physical) / 2)


def test_mu_is_the_one_that_makes_the_factor() -> None:
    network = CorrectionNetwork(**SMALL)
    y = torch.rand(2, 1, 16, 16)
    answer, mu = network.with_mu(y, y, torch.zeros(2, 4), y, torch.zeros(2, dtype=torch.long))
    assert torch.equal(answer, answer_of(network, y))
    torch.testing.assert_close(mu.square().exp(), torch.full_like(mu, 3.2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("given", [{"paths": 0}, {"alpha": 1.5}, {"alpha": -0.1}, {"acf_domain": "image"}])
def test_arguments_outside_their_meaning_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(given))):
        CorrectionNetwork(**SMALL | given)


def test_attention_transfer_is_blind_to_scale_and_sees_place(generator: torch.Generator) -> None:
    features = [torch.randn(2, 5, 8, 8, generator=generator)]
    assert float(attention_transfer(features, [3 * f for f in features])) < 1e-5
    assert float(attention_transfer(features, [f.flip(-1) for f in features])) > 0.1


@pytest.mark.parametrize(
    ("part", "seen"), [("encoder", {0, 1}), ("middle", {2}), ("decoder", {3, 4}), ("all", {0, 1, 2, 3, 4})]
)
def test_only_the_chosen_blocks_are_aligned(part: Any, seen: set[int], generator: torch.Generator) -> None:
    features = [torch.randn(2, 3, 4, 4, generator=generator) for _ in range(5)]
    for block in range(5):
        other = [f.flip(-1) if n == block else f for n, f in enumerate(features)]
        assert (float(attention_transfer(features, other, part)) > 1e-3) == (block in seen)
