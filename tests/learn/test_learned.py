import pytest
import torch

from photopeak.core.errors import BadCheckpoint
from photopeak.learn.checkpoint import save_checkpoint


def test_a_method_returns_from_its_file(tmp_path, line):
    method = line(2, slope=0.7)
    method.save(tmp_path / "w.safetensors", card={"licence": "none", "cohort": ["a", "b"]})
    found = line.restored(tmp_path / "w.safetensors")
    assert found.arguments == {"width": 2, "slope": 0.7}
    assert found.card == {"licence": "none", "cohort": ["a", "b"]}
    assert torch.equal(found.players["net"].weight, method.players["net"].weight)
    assert found.weights_sha256() == method.weights_sha256()


def test_its_own_card_travels_unless_another_is_given(tmp_path, line):
    method = line()
    method.card = {"cohort": "mine"}
    method.save(tmp_path / "w.safetensors")
    assert line.restored(tmp_path / "w.safetensors").card == {"cohort": "mine"}


def test_the_hash_is_that_of_the_weights(line):
    method, other = line(slope=0.5), line(slope=0.5)
    assert method.weights_sha256() == other.weights_sha256()
    with torch.no_grad():
        other.players["net"].bias += 1e-6
    assert method.weights_sha256() != other.weights_sha256()


def test_weights_of_another_method_are_refused(tmp_path, line, duel):
    duel().save(tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=r"w\.safetensors holds weights of duel"):
        line.restored(tmp_path / "w.safetensors")


def test_a_training_state_is_no_weights(tmp_path, line):
    save_checkpoint(tmp_path / "t.safetensors", line().players.state_dict(), {"kind": "training", "method": "line"})
    with pytest.raises(BadCheckpoint, match="holds training of line"):
        line.restored(tmp_path / "t.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_spoilt_weights_are_refused(tmp_path, line, value):
    method = line()
    with torch.no_grad():
        method.players["net"].weight[0] = value
    method.save(tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=r"net\.weight with NaN"):
        line.restored(tmp_path / "w.safetensors")


@pytest.mark.parametrize("change", ["another width", "one missing", "one more"])
def test_weights_that_do_not_fit_are_refused(line, change):
    tensors = line(2 if change == "another width" else 1).players.state_dict()
    if change == "one missing":
        tensors.pop("net.bias")
    if change == "one more":
        tensors["net.extra"] = torch.zeros(1)
    with pytest.raises(BadCheckpoint, match="do not fit line"):
        line().use_weights(tensors)
