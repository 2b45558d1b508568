"""Weights on disk: safetensors with a JSON header, written beside and renamed; never pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from photopeak.core.errors import BadCheckpoint

SCHEMA = "photopeak.checkpoint.1"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able header so that a kill leaves either the old file or the new one."""
    beside = path.with_name(path.name + ".part")
    record = json.dumps({"schema": SCHEMA, **header}, sort_keys=True)
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, beside, metadata={"photopeak": record}
    )
    os.replace(beside, path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a checkpoint.

    Raises
    ------
    BadCheckpoint : not safetensors, cut short, or not written by photopeak.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get("photopeak")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        header = json.loads(record) if record else {}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise BadCheckpoint(
            f"{path.name}: {error}", needed="a complete safetensors file", remedy="Copy it again or train anew."
        ) from error
    if header.get("schema") != SCHEMA:
        raise BadCheckpoint(
            f"{path.name} with schema {header.get('schema')!r}",
            needed=SCHEMA,
            remedy="Use weights that photopeak train has written.",
        )
    return tensors, header
