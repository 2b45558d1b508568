"""Which method estimates a PET from CT, in which settings of use, and how often its network will be asked."""

import inspect
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

USUAL_METHOD = "cpdm_pet"
NETWORKS = ("net", "generator", "generator0", "pet")
"""What methods call the network that is asked once for each chunk of slices, step and sample."""


def ready(name: str | None, weights: Path | None, using: Mapping[str, Any]) -> Any:
    """A method that makes PET from CT, with its card.

    Parameters
    ----------
    name : the usual one, or that of the weights, unless given.
    using : settings of use; steps of a method that takes none are refused. The others are those that the weights were
        calibrated for, or the method's own.

    Raises
    ------
    BadArgument : another kind of method, one whose answers are no SUV, a setting that it does not have, or no weights.
    BadCheckpoint : weights without a card.
    """
    from photopeak.core.errors import BadArgument, BadCheckpoint
    from photopeak.learn.checkpoint import load_checkpoint
    from photopeak.methods import method, method_class, shipped_weights

    if name is None:
        name = USUAL_METHOD if weights is None else str(load_checkpoint(weights)[1].get("method"))
    kind = method_class(name)
    if kind.reads != ("ct",) or not {"pet", "pet_sd"} <= set(kind.writes):
        raise BadArgument(f"method {name}", needed="one that makes PET from CT", remedy=f"Use {USUAL_METHOD}.")
    preset = calibrated_for(load_checkpoint(weights or shipped_weights(name))[1].get("card", {}))
    known = inspect.signature(kind.using).parameters if hasattr(kind, "using") else ()
    made: Any = method(name, weights, **{key: value for key, value in preset.items() if key in known} | dict(using))
    if getattr(made.feed, "per_slice", False):
        raise BadArgument(
            f"weights of {name} that give each slice its own scale",
            needed="answers in SUV",
            remedy='Train it without compat="cpdm".',
        )
    if "training" not in made.card:
        raise BadCheckpoint(
            f"weights of {name} without a card",
            needed="what they were trained on",
            remedy="Train with photopeak train.",
        )
    return made


def calibrated_for(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of use that the sd of weights with this card was calibrated for; none without a calibration."""
    using: Mapping[str, Any] = card.get("calibration", {}).get("using", {})
    return using


def covers(method: Any) -> bool:
    """Whether the calibration in a method's card holds for the settings in which it is used."""
    using = calibrated_for(method.card)
    settings = method.settings()
    return bool(using) and all(settings.get(name) == value for name, value in using.items())


def asked_once(method: Any) -> Any:
    """The method with one sample, if each would be the same: it draws no number for a slice of air."""
    import torch

    from photopeak.core.random import stream
    from photopeak.learn.pet_feed import AIR

    air = torch.full((1, method.feed.multiple, method.feed.multiple), AIR)
    device = next((weight.device for weight in method.players.parameters()), air.device)
    chance = stream(method.seed, 0)
    before = chance.get_state()
    method.require_parts()
    method.players.eval()
    with torch.inference_mode():
        condition = method.condition(dict.fromkeys(("given", *method.maps), air))
        method.answer({name: value.to(device) for name, value in condition.items()}, chance)
    if not torch.equal(chance.get_state(), before):
        return method
    once = copy(method)
    once.samples = 1
    return once


def network_of(method: Any) -> "Module":
    """What is asked for each chunk of slices: the player of that name, or the largest of its parts."""
    from torch import nn

    named = (player for name, player in method.players.named_children() if name in NETWORKS)
    found: Module = next(named, method.players)
    while isinstance(found, nn.ModuleDict):
        found = max(found.children(), key=lambda part: sum(w.numel() for w in part.parameters()))
    return found


def evaluations(method: Any, depth: int) -> int:
    """How often the network will be asked for `depth` slices."""
    from photopeak.methods.slice_method import NETWORK_ITEMS

    steps = getattr(method, "steps", 1) * getattr(method, "repeats", 1)
    return int(method.samples * steps * -(-depth // NETWORK_ITEMS))
