import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.nets.unit_vae import ScaledCritics, SharedLatentVAE


@pytest.fixture
def vae() -> SharedLatentVAE:
    torch.manual_seed(0)
    return SharedLatentVAE({"many": 3, "one": 1}, channels=4, blocks=2, shared=1).double()


def test_every_domain_decodes_the_latent_of_every_other(vae, generator):
    images = {"many": 3, "one": 1}
    for source, channels in images.items():
        latent = vae.encode(torch.randn((2, channels, 16, 24), generator=generator, dtype=torch.float64), source)
        assert latent.shape == (2, 16, 4, 6)
        for target, expected in images.items():
            assert vae.decode(latent, target).shape == (2, expected, 16, 24)


def test_domains_share_the_blocks_next_to_the_latent_space_and_no_others(vae, generator):
    image = torch.randn((2, 1, 16, 16), generator=generator, dtype=torch.float64)
    vae.decode(vae.encode(image, "one"), "one").square().sum().backward()
    moved = {name.split(".")[0] + "." + name.split(".")[1] for name, p in vae.named_parameters() if p.grad is not None}
    assert moved == {"encoders.one", "into_latent.0", "out_of_latent.0", "decoders.one"}
    unmoved = [n for n, p in vae.named_parameters() if p.grad is not None and not bool(p.grad.abs().max() > 1e-12)]
    assert unmoved == []


def test_a_critic_for_each_scale_down_to_the_least_side(generator):
    critics = ScaledCritics(2, channels=4, layers=2, scales=2)
    side = ScaledCritics.least_side(2, 2)
    fine, coarse = critics(torch.randn((3, 2, side, side), generator=generator))
    assert fine.shape == (3, 1, 4, 4)
    assert coarse.shape == (3, 1, 1, 1)
    with pytest.raises(RuntimeError, match="size"):
        critics(torch.randn((3, 2, side - 4, side - 4), generator=generator))


def test_critics_judge_items_alone(generator):
    critics = ScaledCritics(1, channels=4, layers=1, scales=2).double()
    images = torch.randn((3, 1, 16, 16), generator=generator, dtype=torch.float64)
    together, alone = critics(images), critics(images[1:2])
    assert all(torch.allclose(t[1:2], a, atol=1e-12) for t, a in zip(together, alone, strict=True))


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="0 to 2"):
        SharedLatentVAE({"one": 1}, channels=4, blocks=2, shared=3)
    with pytest.raises(BadArgument, match="at least 1 of each"):
        ScaledCritics(1, scales=0)
