import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from photopeak.core.errors import BadCheckpoint
from photopeak.learn.checkpoint import SCHEMA, load_checkpoint, save_checkpoint

HEADER = {"kind": "weights", "method": "toy", "arguments": {"channels": [1, 2], "alpha": 0.5}}


@pytest.fixture
def tensors(generator: torch.Generator) -> dict[str, torch.Tensor]:
    big = torch.randn((20, 30), generator=generator)
    return {"turned": big.T, "double": big[:2].double(), "step": torch.tensor(7), "flag": torch.tensor([True, False])}


def test_round_trip(tmp_path, tensors):
    save_checkpoint(tmp_path / "a.safetensors", tensors, HEADER)
    found, header = load_checkpoint(tmp_path / "a.safetensors")
    assert header == {"schema": SCHEMA, **HEADER}
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_the_same_weights_make_the_same_bytes(tmp_path, tensors):
    one, other = tmp_path / "one", tmp_path / "other"
    save_checkpoint(one, tensors, HEADER)
    save_checkpoint(other, dict(reversed(tensors.items())), dict(reversed(HEADER.items())))
    assert one.read_bytes() == other.read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tensors, HEADER)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, tensors, {"not JSON": object()})
    assert path.read_bytes() == before
    save_checkpoint(path, {"new": torch.zeros(1)}, HEADER)
    assert set(load_checkpoint(path)[0]) == {"new"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def _refused(path: Path, match: str) -> None:
    with pytest.raises(BadCheckpoint, match=match) as error:
        load_checkpoint(path)
    assert path.name in str(error.value)


def test_a_pickle_is_refused(tmp_path, tensors):
    torch.save(tensors, tmp_path / "a.pt")
    _refused(tmp_path / "a.pt", "safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_cut_file_is_refused(tmp_path, tensors, kept):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tensors, HEADER)
    path.write_bytes(path.read_bytes()[:kept])
    _refused(path, "complete safetensors")


def test_a_missing_file_is_refused(tmp_path):
    _refused(tmp_path / "none.safetensors", "complete safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"photopeak": json.dumps({"schema": "photopeak.checkpoint.0"})},
        {"photopeak": json.dumps({"kind": "weights"})},
    ],
)
def test_a_foreign_file_is_refused(tmp_path, metadata):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata=metadata)
    _refused(tmp_path / "a.safetensors", SCHEMA)


def test_a_header_that_is_no_json_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"photopeak": "no JSON"})
    _refused(tmp_path / "a.safetensors", "complete safetensors")
