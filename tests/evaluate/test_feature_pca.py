import pytest
import torch

from photopeak.core.errors import BadArgument, BadValues
from photopeak.evaluate.feature_pca import (
    FeatureRow,
    coloured,
    features_at_moments,
    features_figure,
    principal_components,
    share_within,
)
from photopeak.nets.unet import slice_unet


def test_features_are_of_the_first_middle_and_last_evaluation() -> None:
    torch.manual_seed(0)
    net = slice_unet(2, 1, (8, 24), fold=2).eval()
    given = torch.rand(2, 2, 16, 24)

    def sample(steps: int = 5) -> None:
        for time in range(steps):
            net(given * (1 + time), torch.full((2,), time))

    found = features_at_moments(net, sample)
    assert found.shape == (3, 8, 8, 12)
    alone = [
        features_at_moments(net, lambda t=t: [net(given * (1 + t), torch.full((2,), t)) for _ in range(3)])[0]
        for t in (0, 2, 4)
    ]
    assert torch.equal(found, torch.stack(alone))
    assert features_at_moments(net, sample, block=0).shape[-2:] == (4, 6)
    with pytest.raises(BadArgument, match="2 evaluations"):
        features_at_moments(net, lambda: sample(2))


def test_components_are_the_directions_of_greatest_variance(generator: torch.Generator) -> None:
    scores = torch.randn(3, 2, 5, 6, generator=generator) * torch.tensor([5.0, 1.0])[:, None, None]
    scores -= scores.mean(dim=(0, 2, 3), keepdim=True)
    flat = scores.permute(1, 0, 2, 3).flatten(1)
    flat[1] -= flat[0] * (flat[0] @ flat[1]) / (flat[0] @ flat[0])
    scores = flat.reshape(2, 3, 5, 6).permute(1, 0, 2, 3)
    axes = torch.tensor([[0.6, 0.8, 0.0, 0.0], [-0.8, 0.6, 0.0, 0.0]])
    features = torch.einsum("nkhw,kc->nchw", scores, axes) + 3
    found = principal_components(features, 2)
    assert torch.allclose(found[:, 0].float(), scores[:, 0], atol=1e-4)
    assert torch.allclose(found[:, 1].float(), -scores[:, 1], atol=1e-4)


def test_share_within_a_body() -> None:
    components = torch.zeros(2, 3, 4, 4)
    components[0, 0, 1:3, 1:3] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    components[1, 0, 0, 0], components[1, 0, 3, 3] = 1, -1
    inside = torch.zeros(8, 8)
    inside[2:6, 2:6] = 1
    assert share_within(components, inside) == [1, 0]


def test_colours_cover_each_component(generator: torch.Generator) -> None:
    pictures = coloured(torch.randn(3, 3, 9, 8, generator=generator))
    assert pictures.shape == (3, 9, 8, 3)
    assert (pictures.min(), pictures.max()) == (0, 1)


def test_figure(generator: torch.Generator) -> None:
    row = FeatureRow(torch.randn(3, 3, 6, 8, generator=generator), 5 * torch.rand(12, 16, generator=generator))
    inside = torch.zeros(12, 16, dtype=torch.bool)
    inside[3:9, 4:12] = True
    told = {"ct": torch.zeros(12, 16), "pet": row.answer, "inside": inside, "aspect": 1.0, "title": "p0"}
    png = features_figure({"a": row, "b": row}, **told)
    assert png.startswith(b"\x89PNG")
    assert features_figure({"a": row, "b": row}, **told) == png
    with pytest.raises(BadArgument):
        features_figure({}, **told)


def test_bad_features() -> None:
    with pytest.raises(BadValues, match="same everywhere"):
        principal_components(torch.ones(1, 4, 5, 5))
    with pytest.raises(BadArgument, match="2 channels"):
        principal_components(torch.rand(1, 2, 5, 5))
