import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.nets.patch_critic import Game, PatchCritic


class _Mean(nn.Module):
    """Scores an image by its mean times a weight: a critic whose losses are known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.weight * image.mean(dim=(1, 2, 3), keepdim=True)]


def _knowing(game: Game) -> PatchCritic:
    critic = PatchCritic(1, width=4, layers=1, game=game)
    critic.net = _Mean()
    return critic


def _grey(value: float) -> Tensor:
    return torch.full((2, 1, 8, 8), value)


def test_least_squares_of_known_scores() -> None:
    critic = _knowing("least_squares")
    assert float(critic.told_apart(_grey(1.0), _grey(0.0))) == 0
    assert float(critic.told_apart(_grey(0.5), _grey(0.25))) == pytest.approx((0.25 + 0.0625) / 2)
    assert float(critic.fooled(_grey(0.0))) == 1
    assert float(critic.fooled(_grey(1.0))) == 0


def test_cross_entropy_of_known_scores() -> None:
    critic = _knowing("cross_entropy")
    assert float(critic.told_apart(_grey(40.0), _grey(-40.0))) == pytest.approx(0, abs=1e-6)
    assert float(critic.told_apart(_grey(0.0), _grey(0.0))) == pytest.approx(math.log(2))
    assert float(critic.fooled(_grey(-2.0))) == pytest.approx(math.log1p(math.exp(2.0)))


@pytest.mark.parametrize("game", ["least_squares", "cross_entropy"])
def test_who_learns_in_whose_turn(game: Game) -> None:
    torch.manual_seed(0)
    critic = PatchCritic(1, width=4, layers=1, game=game)
    fake = torch.randn(2, 1, 12, 12, requires_grad=True)
    critic.told_apart(torch.randn(2, 1, 12, 12), fake).backward()
    assert fake.grad is None
    assert all(p.grad is not None for p in critic.parameters())
    critic.zero_grad(set_to_none=True)
    critic.fooled(fake).backward()
    assert fake.grad is not None
    assert float(fake.grad.abs().max()) > 0
    assert all(p.grad is None for p in critic.parameters())


def test_it_learns_to_tell_noise_from_flat() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(1, width=8, layers=1, game="least_squares")
    optimiser = torch.optim.Adam(critic.parameters(), lr=6e-3)
    generator = torch.Generator().manual_seed(1)

    def drawn() -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, 1, 12, 12, generator=generator)
        return noise, torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)

    for _ in range(30):
        optimiser.zero_grad()
        critic.told_apart(*drawn()).backward()
        optimiser.step()
    noise, flat = drawn()
    assert float(critic(noise).mean()) > 0.8
    assert float(critic(flat).mean()) < 0.2


@pytest.mark.parametrize(("layers", "pixels"), [(2, 34), (3, 70)])
def test_the_patch_that_a_score_sees(layers: int, pixels: int) -> None:
    torch.manual_seed(0)
    critic = PatchCritic(1, width=2, layers=layers, game="least_squares")
    critic.net.apply(_without_norm)
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    scores = critic(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    assert int((image.grad[0, 0].abs().sum(1) > 0).sum()) == pixels


def _without_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.InstanceNorm2d):
            setattr(module, name, nn.Identity())


def test_pooling_gives_one_score_an_image() -> None:
    torch.manual_seed(0)
    patches = PatchCritic(1, width=4, layers=1, game="least_squares")
    pooled = PatchCritic(1, width=4, layers=1, game="least_squares", pooled=True)
    pooled.load_state_dict(patches.state_dict())
    image = torch.randn(3, 1, 12, 12)
    assert pooled(image).shape == (3, 1, 1, 1)
    torch.testing.assert_close(pooled(image)[:, 0, 0, 0], patches(image).mean(dim=(1, 2, 3)))


def test_the_smallest_image_and_the_next_smaller() -> None:
    critic = PatchCritic(1, width=4, layers=2, game="least_squares")
    assert critic(torch.randn(1, 1, 12, 12)).numel() == 1
    with pytest.raises(ShapeMismatch, match="at least 12"):
        critic(torch.randn(1, 1, 12, 11))


@pytest.mark.parametrize("arguments", [{"game": "hinge"}, {"game": "least_squares", "layers": 0}])
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        PatchCritic(1, **arguments)
