import pytest
import torch

from photopeak.nets.placed_unet import PlacedUNet, sinusoids


@pytest.mark.parametrize("fold", [1, 2])
def test_the_place_of_a_slice_counts(fold: int) -> None:
    torch.manual_seed(0)
    net = PlacedUNet(3, 2, depth=9, channels=(8, 24), fold=fold)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.05 * torch.randn_like(weight)
        x, times = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1), torch.tensor([5, 5, 6])
        one, other, later = net(x, times, torch.tensor([4, 8, 4]))
    assert one.shape == (2, 16, 16)
    assert float((one - other).abs().max()) > 1e-3
    assert float((one - later).abs().max()) > 1e-5


def test_neighbouring_slices_start_alike() -> None:
    table = PlacedUNet(1, 1, depth=50, channels=(8, 24)).unet.class_embedding.weight.detach()
    assert torch.equal(table, sinusoids(torch.arange(50), table.shape[1]))
    near, far = (float((table[20] - table[n]).norm()) for n in (21, 45))
    assert near < far


def test_sinusoids_tell_numbers_apart() -> None:
    for size in (7, 16):
        codes = sinusoids(torch.arange(50), size)
        assert codes.shape == (50, size)
        assert float(torch.cdist(codes, codes).add(10 * torch.eye(50)).min()) > 0.2
