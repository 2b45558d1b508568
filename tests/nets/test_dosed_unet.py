import pytest
import torch

from photopeak.nets.dosed_unet import DosedUNet, DoseEmbedding


@pytest.mark.parametrize("fold", [1, 2])
def test_dose_and_time_count(fold: int) -> None:
    torch.manual_seed(0)
    net = DosedUNet(3, 2, channels=(8, 24), fold=fold)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.05 * torch.randn_like(weight)
        x, times = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1), torch.tensor([5, 5, 60])
        one, other, later = net(x, times, torch.tensor([0.01, 0.5, 0.01]))
    assert one.shape == (2, 16, 16)
    assert float((one - other).abs().max()) > 1e-3
    assert float((one - later).abs().max()) > 1e-4


def test_doses_between_those_of_training_lie_between_them() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        low, between, high = DoseEmbedding(32)(torch.tensor([0.05, 0.06, 0.5]))
    assert float((low - between).norm()) < 0.5 * float((low - high).norm())
