"""The residual generator of Johnson et al. (ECCV 2016) as CycleGAN and RegGAN use it: down twice, blocks, up twice."""

from torch import Tensor, nn

from photopeak.core.errors import ShapeMismatch

SHRINKS = 4


class ResNetGenerator(nn.Module):
    """c7s1-k, d2k, d4k, n residual blocks, u2k, uk, c7s1 (Zhu et al., ICCV 2017, appendix 7.2), with a linear end.

    Parameters
    ----------
    inputs, outputs : channels of the images.
    width : channels at full resolution; the blocks have four times as many.
    blocks : residual blocks at a quarter of the resolution; the papers' is 9.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *_convolved(inputs, width, 7),
            *_normed(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), 2 * width),
            *_normed(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), 4 * width),
            *(_Residual(4 * width) for _ in range(blocks)),
            *_normed(_doubling(4 * width, 2 * width), 2 * width),
            *_normed(_doubling(2 * width, width), width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, outputs, 7),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column].

        Raises
        ------
        ShapeMismatch : rows or columns that cannot be halved twice.
        """
        rows, columns = image.shape[-2:]
        if rows % SHRINKS or columns % SHRINKS:
            raise ShapeMismatch(f"an image of {rows}x{columns}", needed="multiples of 4", remedy="Pad or crop it.")
        answer: Tensor = self.net(image)
        return answer


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(*_convolved(width, width, 3), *_convolved(width, width, 3)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.change(x)
        return changed


def _convolved(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(size // 2), *_normed(nn.Conv2d(inputs, outputs, size), outputs)]


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


def _normed(layer: nn.Module, outputs: int) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(outputs), nn.ReLU()]
