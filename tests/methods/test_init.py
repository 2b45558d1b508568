import pytest

from photopeak.core.errors import BadArgument
from photopeak.methods import method, method_class, method_names


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
