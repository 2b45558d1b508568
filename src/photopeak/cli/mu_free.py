"""An attenuation map without CT: predicted from an uncorrected image of the same projections."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photopeak.core import Grid, Study
    from photopeak.methods.indirect import Indirect

USUAL_MAP, USUAL_PINHOLE_MAP = "concord", "map_570c"
"""The shipped weights whose map network is taken, for NAC of parallel holes and of pinholes."""
PINHOLE_COHORTS = ("nm570c",)
"""What a card says of the camera of such a cohort; of parallel holes it says nothing."""
NAC_ITERATIONS = 50


def with_predicted_mu(study: "Study", grid: "Grid", weights: Path | None) -> "Study":
    """The study with "mu" and with the "nac" that it was predicted from; errors as of `map_network`.

    Parameters
    ----------
    weights : of `indirect` or `concord`; those that ship unless given.

    Raises
    ------
    HeartNotFound : the map network looks at the heart first.
    """
    from photopeak.core import Step

    predicts = map_network(study, weights)
    nac = uncorrected(study, grid)
    step = Step(("mu",), f"map of {predicts.name}", ("nac",), {"weights_sha256": predicts.weights_sha256()})
    return nac.add({"mu": predicts.predicted_mu(nac)}, step)


def map_network(study: "Study", weights: Path | None) -> "Indirect":
    """The network that predicts attenuation from NAC of this camera.

    Raises
    ------
    BadCheckpoint : weights of a method without one, or of NAC of another kind of camera.
    """
    from photopeak.core.errors import BadCheckpoint
    from photopeak.learn.checkpoint import load_checkpoint
    from photopeak.methods import shipped_weights
    from photopeak.methods.concord import Concord
    from photopeak.methods.indirect import Indirect
    from photopeak.physics.pinhole import Pinhole

    pinholes = isinstance(study.projections["raw"].camera, Pinhole)
    path = weights or shipped_weights(USUAL_PINHOLE_MAP if pinholes else USUAL_MAP)
    header = load_checkpoint(path)[1]
    made, card = header.get("method"), header.get("card", {})
    if made not in (Indirect.name, Concord.name):
        raise BadCheckpoint(
            f"{path.name} of {made}", needed=f"{Indirect.name} or {Concord.name}", remedy="Choose other --map-weights."
        )
    if pinholes is not (card.get("cohort", {}).get("camera") in PINHOLE_COHORTS):
        raise BadCheckpoint(
            f"{path.name}, trained on NAC of a {'parallel-hole' if pinholes else 'pinhole'} camera",
            needed=f"NAC of a {'pinhole' if pinholes else 'parallel-hole'} camera, as this study's",
            remedy="Train indirect on such a cohort and give it as --map-weights, or give a CT or a map.",
        )
    if made == Indirect.name:
        return Indirect.restored(path)
    concord = Concord.restored(path)
    inner = Indirect(**concord.arguments["indirect"])
    inner.use_weights(concord.players["map"].state_dict())
    return inner


def uncorrected(study: "Study", grid: "Grid") -> "Study":
    """The study with "nac" of its projections, as training cohorts have it; the heart is found in it unless known."""
    from photopeak.cardiac.find import find_heart
    from photopeak.cli.simulate_pinhole import clear_of_pinholes
    from photopeak.core import COUNTS, Step, Volume
    from photopeak.methods.osem import Osem
    from photopeak.physics.pinhole import Pinhole
    from photopeak.physics.support import Within
    from photopeak.recon.iterate import mlem

    raw = study.projections["raw"]
    if isinstance(raw.camera, Pinhole):
        system = Within(raw.camera.system(grid), clear_of_pinholes(raw.camera, grid))
        image = Volume(mlem(system, raw.counts, iterations=NAC_ITERATIONS), grid, COUNTS)
        study = study.add({"nac": image}, Step(("nac",), "mlem", ("raw",), {"iterations": NAC_ITERATIONS}))
    else:
        study = Osem("nac")(study)
    return study if "heart" in study.facts else study.with_facts(heart=find_heart(study["nac"]).to_dict())
