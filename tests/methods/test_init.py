from pathlib import Path

import pytest

from photopeak.core.errors import BadArgument
from photopeak.methods import method, method_class, method_names
from photopeak.methods.mean_acf import MeanFactor


def test_methods_are_found_by_file() -> None:
    assert {"mean_acf", "osem", "padm", "padm_teacher", "unet"} <= set(method_names())
    assert all(method_class(name).name == name for name in method_names())


@pytest.mark.parametrize("name", ["nothing", "../io", "heart_slices", ""])
def test_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(BadArgument, match="padm_teacher"):
        method(name)


def test_method_without_shipped_weights_says_how_to_get_them() -> None:
    with pytest.raises(BadArgument, match="photopeak train unet"):
        method("unet")


def test_settings_that_a_method_does_not_have_are_refused(tmp_path: Path) -> None:
    MeanFactor().save(tmp_path / "w.safetensors")
    with pytest.raises(BadArgument, match="steps of mean_acf"):
        method("mean_acf", tmp_path / "w.safetensors", steps=5)
