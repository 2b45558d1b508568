"""Attenuation correction by way of the attenuation map: predict mu from NAC, then reconstruct with it.

The map comes from a residual 2.5D U-Net over transaxial slices, trained with weight on borders of lung and diaphragm
near the heart, where an error of mu costs most. Two methods share it. `Indirect` sees images only and puts the NAC
reconstruction in the loop: it looks for the image whose attenuated and scattered projections, reconstructed without
correction, give the NAC at hand (Chang 1978, iterated; L. T. Chang, IEEE Trans. Nucl. Sci. 1979; 26:2780-2789).
`IndirectRaw` reconstructs measured projections by OSEM, with attenuation and effective-source scatter in the map.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Projections, Study, SystemOperator, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import TC99M_KEV
from photopeak.learn.checkpoint import load_checkpoint
from photopeak.learn.learned import Batch, LearnedMethod
from photopeak.methods.heart_slices import heart_of
from photopeak.methods.map_slices import MapBatches, TransaxialFeed, border_of
from photopeak.methods.reconstruction import natural_grid
from photopeak.methods.slice_method import in_chunks
from photopeak.nets.unet import slice_unet
from photopeak.physics.attenuation import correction_factor
from photopeak.physics.esse import Esse
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.recon.butterworth import butterworth
from photopeak.recon.iterate import osem

WATER_PER_CM = 0.15
"""What the network calls 1."""
LARGEST_PER_CM = 0.3
ITERATIONS, SUBSETS = 4, 10
SCATTER_ROUNDS = 2
Form = Literal["chang", "reprojection"]


class MuFromNAC(LearnedMethod):
    """A method that predicts the attenuation map from "nac" and makes "ac" with it; a subclass implements `answer`.

    Parameters
    ----------
    feed : arguments of TransaxialFeed.
    channels : of the U-Net's levels.
    border : extra weight of borders of mu near the heart; 0 for a plain L1.
    broad : weight of the L1 of errors averaged over 8x8 voxels, which is what a path through the body sees.
    fold : the U-Net works on blocks of so many voxels squared, as channels: a quarter of the time at 2.
    """

    reads: tuple[str, ...] = ("nac",)
    writes: tuple[str, ...] = ("ac", "ac_sd", "mu_predicted")
    scatter = True

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        border: float = 2.0,
        broad: float = 1.0,
        fold: int = 2,
    ) -> None:
        if not (border >= 0 and broad >= 0 and fold >= 1):
            raise BadArgument(
                f"border={border}, broad={broad}, fold={fold}",
                needed="weights of at least 0 and blocks of at least 1 voxel",
                remedy="0 leaves a term out, 1 does not fold.",
            )
        self.feed = TransaxialFeed(**(feed or {}))
        self.border, self.broad = border, broad
        self.arguments = {
            "feed": asdict(self.feed),
            "channels": list(channels),
            "border": border,
            "broad": broad,
            "fold": fold,
        }
        self.card: Mapping[str, Any] = {}
        self.players = nn.ModuleDict({"net": slice_unet(self.feed.context + 3, 1, channels, fold=fold)})

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> "MapBatches":
        """Slices are read as they are, so nothing is worth keeping."""
        return MapBatches(self.feed, studies)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        error = self._mu_of(batch) - batch["mu"] / WATER_PER_CM
        near = batch["near"]
        slope = border_of(batch["around"] / WATER_PER_CM)
        weight = 0.25 + near * (1 + self.border * slope)
        coarse = F.avg_pool2d(error, 8).abs() * F.avg_pool2d(0.25 + near, 8)
        yield "net", (weight * error.abs()).mean() + self.broad * coarse.mean()

    @torch.inference_mode()
    def predicted_mu(self, study: Study) -> Volume:
        """Attenuation that the network sees in "nac", 1/cm at 140.5 keV, 0 to 0.3, on the grid of "nac"."""
        nac = study["nac"].require(COUNTS, name="nac").require_image(name="nac")
        return self._predicted(nac, heart_of(study)).on(nac.grid)

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        nac = study["nac"].require(COUNTS, name="nac").require_image(name="nac")
        mu = self._predicted(nac, heart_of(study))
        ac = self.answer(study, mu).on(nac.grid, order=3)
        return {
            "ac": nac.with_data(ac.data.clamp(min=0)),
            "ac_sd": nac.with_data(torch.zeros_like(nac.data)),
            "mu_predicted": mu.on(nac.grid),
        }

    @abstractmethod
    def answer(self, study: Study, mu: Volume) -> Volume:
        """AC in counts, with a map on the feed's grid."""

    def _predicted(self, nac: Volume, frame: HeartFrame) -> Volume:
        """The map [z, y, x] on the feed's grid."""
        self.players.eval()
        feed = self.feed
        small = nac.on(feed.grid(nac.grid), order=3)
        counts = (small.data.clamp(min=0) / feed.level(small, frame)).sqrt()
        every = range(len(counts))
        batch = {
            "nac": feed.stacked(counts, every, feed.neighbours),
            "place": feed.offsets(small.grid, frame),
        }
        mu = in_chunks(self._mu_of, batch, items=8)[:, 0] * WATER_PER_CM
        return Volume(mu.clamp(0, LARGEST_PER_CM), small.grid, attenuation(TC99M_KEV))

    def _mu_of(self, batch: Batch) -> Tensor:
        """Attenuation over that of water [item, 1, row, column]."""
        seen = torch.cat([batch["nac"], batch["place"]], dim=1)
        times = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
        answer: Tensor = self.players["net"](seen, times)
        return answer


class Indirect(MuFromNAC):
    """AC from NAC alone, with the NAC reconstruction in the loop; `using` chooses how."""

    name = "indirect"
    form: Form = "chang"
    passes = 3

    def using(self, *, passes: int = 3, form: Form = "chang", scatter: bool = True) -> Self:
        """This method, same weights: `passes` of iterative Chang, or OSEM of the re-projected NAC.

        Without `scatter` it takes a fifth of the time and leaves scatter in the answer, some 1.3 times too bright.
        """
        if passes < 0 or form not in get_args(Form):
            raise BadArgument(
                f"passes={passes}, form={form!r}",
                needed=f"at least 0, and {' or '.join(get_args(Form))}",
                remedy="3 passes are usual; 0 is Chang's first order.",
            )
        other = copy(self)
        other.passes, other.form, other.scatter = passes, form, scatter
        return other

    def settings(self) -> Mapping[str, Any]:
        used = {"form": self.form, "passes": self.passes, "scatter": self.scatter}
        return {**used, "weights_sha256": self.weights_sha256()}

    def answer(self, study: Study, mu: Volume) -> Volume:
        nac = study["nac"].on(mu.grid, order=3).data.clamp(min=0)
        if self.form == "chang":
            return Volume(iterated_chang(nac, mu, self.passes, scatter=self.scatter), mu.grid, COUNTS)
        return Volume(reprojected(nac, mu, scatter=self.scatter), mu.grid, COUNTS)


class IndirectRaw(MuFromNAC):
    """AC from measured projections "raw", OSEM with predicted attenuation and the scatter that it makes.

    Weights of `Indirect` serve here too: the network sees NAC in both.
    """

    name = "indirect_raw"
    reads_projections: tuple[str, ...] = ("raw",)

    @classmethod
    def sharing(cls, trained: MuFromNAC) -> Self:
        """The form with projections of a trained `Indirect`; the network is the same object."""
        made = cls(**trained.arguments)
        made.players, made.card = trained.players, trained.card
        return made

    def using(self, *, scatter: bool = True) -> Self:
        """This method, same weights, with effective-source scatter or with none."""
        other = copy(self)
        other.scatter = scatter
        return other

    @classmethod
    def restored(cls, path: Path) -> Self:
        _, header = load_checkpoint(path)
        return super().restored(path) if header.get("method") == cls.name else cls.sharing(Indirect.restored(path))

    def settings(self) -> Mapping[str, Any]:
        used = {"iterations": ITERATIONS, "subsets": SUBSETS, "scatter": self.scatter}
        return {**used, "weights_sha256": self.weights_sha256()}

    def answer(self, study: Study, mu: Volume) -> Volume:
        raw = study.projections["raw"]
        grid = natural_grid(raw.camera)
        return Volume(from_projections(raw, mu.on(grid), scatter=self.scatter), grid, COUNTS)


def iterated_chang(nac: Tensor, mu: Volume, passes: int, *, scatter: bool = True) -> Tensor:
    """``x <- x + C (NAC - R(A x + S x))`` from ``x = C NAC`` (Chang 1978), C by the mean survival over the arc.

    Parameters
    ----------
    nac : [z, y, x], counts, on the grid of `mu`.
    mu : 1/cm at 140.5 keV.
    passes : how often; S is effective-source scatter and R is OSEM without corrections or filter. NAC has been
        filtered, and so is the x that explains it; a second filter in R would ask for an x with amplified noise.
    scatter : False leaves S out.
    """
    camera = _nominal_camera(mu.grid)
    with_body, empty = camera.system(mu.grid, mu), camera.system(mu.grid)
    scattered = Esse(camera, mu.grid, mu) if scatter else None
    factor = correction_factor(mu.data, mu.grid.spacing_mm[0], views=30, start_deg=-42.0, arc_deg=180.0)
    image = factor * nac
    if scattered is not None:
        image = image / (1 + scattered(image).clamp(min=0).sum() / with_body(image).sum())
    for _ in range(passes):
        seen = with_body(image)
        if scattered is not None:
            seen = seen + scattered(image).clamp(min=0)
        image = (image + factor * (nac - osem(empty, seen, iterations=ITERATIONS, subsets=SUBSETS))).clamp(min=0)
    return image


def reprojected(nac: Tensor, mu: Volume, *, scatter: bool = True) -> Tensor:
    """OSEM, with attenuation and scatter, of the NAC image's own projections; no second filter."""
    camera = _nominal_camera(mu.grid)
    counts = camera.system(mu.grid)(nac)
    return _corrected(camera.system(mu.grid, mu), Esse(camera, mu.grid, mu) if scatter else None, counts)


def from_projections(raw: Projections, mu: Volume, *, scatter: bool = True) -> Tensor:
    """OSEM of measured projections with a map, scatter by effective sources in it: [z, y, x], counts.

    Resolution is not recovered, as in `photopeak.methods.osem`; scatter is that of the camera with its collimator.
    """
    camera = raw.camera
    if not isinstance(camera, ParallelHole):
        raise BadArgument(
            f"projections of a {camera.kind}", needed="a parallel_hole camera", remedy="Use the image-only form."
        )
    clear = mu.with_data(mu.data * _before(camera, mu.grid))
    system = replace(camera, collimator=None).system(mu.grid, clear)
    image = _corrected(system, Esse(camera, mu.grid, clear) if scatter else None, raw.counts)
    return butterworth(image, mu.grid.spacing_mm)


def _corrected(system: SystemOperator, scatter: Esse | None, counts: Tensor) -> Tensor:
    """OSEM with the scatter of its own image, found in rounds; the first guess keeps the sum of counts."""
    if scatter is None:
        return osem(system, counts, iterations=ITERATIONS, subsets=SUBSETS)
    image = osem(system, counts, iterations=1, subsets=SUBSETS)
    for _ in range(SCATTER_ROUNDS):
        primary, scattered = system(image), scatter(image).clamp(min=0)
        background = scattered * (counts.sum() / (primary.sum() + scattered.sum()))
        image = osem(system, counts, iterations=ITERATIONS, subsets=SUBSETS, background=background)
    return image


def _nominal_camera(grid: Grid) -> ParallelHole:
    """RAO45 to LPO45 in 60 views without blur; of ideal resolution, so that its distance does not matter."""
    rows, _, columns = grid.shape
    far_mm = columns * grid.spacing_mm[0]
    return ParallelHole.circular(shape=(rows, columns), pixel_mm=grid.spacing_mm[0], radius_mm=far_mm, collimator=None)


def _before(camera: ParallelHole, grid: Grid) -> Tensor:
    """[y, x] where a body can be: on the patient's side of every collimator."""
    middle = (np.array(grid.shape[1:]) - 1) / 2
    y_mm, x_mm = (
        (index - m) * grid.spacing_mm[1]
        for index, m in zip(np.indices(grid.shape[1:]).astype(float), middle, strict=True)
    )
    free = np.ones(grid.shape[1:], dtype=bool)
    for angle_deg, radius_mm in zip(camera.angles_deg, camera.radii_mm, strict=True):
        phi = math.radians(angle_deg)
        free &= x_mm * math.sin(phi) - y_mm * math.cos(phi) <= radius_mm
    return torch.from_numpy(free)
