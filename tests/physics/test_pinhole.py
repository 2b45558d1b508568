import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, GridMismatch, UnreadableFile
from photopeak.physics.pinhole import Module, Pinhole
from photopeak.testing import check_camera

PIXEL_MM = 2.46
# From section 4 of the camera's parametric description: d = 5.1 mm, 36 / cm, 25 degrees.
D_EFF_MM = 5.228
DNM = Pinhole.named("dnm_530c")
COARSE = replace(DNM, shape=(8, 8), pixel_mm=4 * PIXEL_MM)
SMALL = Grid.regular((3, 5, 5), 30.0)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHOTOPEAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _towards(module: Module) -> np.ndarray:
    phi, tau = math.radians(module.phi_deg), math.radians(module.tau_deg)
    return np.array([math.sin(phi) * math.cos(tau), -math.cos(phi) * math.cos(tau), math.sin(tau)])


def _pixel_centres(module: Module, shape: tuple[int, int] = (32, 32), pixel_mm: float = PIXEL_MM) -> np.ndarray:
    """[row, column, (x, y, z)] of a detector about the origin's field."""
    u = _towards(module)
    e1 = np.array([-u[1], u[0], 0]) / math.hypot(u[0], u[1])
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    plane = columns[None, :, None] * e1 + rows[:, None, None] * np.cross(u, e1)
    return (module.h_mm + module.f_mm) * u + pixel_mm * plane


def _image_point(module: Module, point: np.ndarray) -> np.ndarray:
    """Where the line from a point through the pinhole meets the detector plane."""
    u = _towards(module)
    pinhole = module.h_mm * u
    ray = pinhole - point
    return pinhole + ray * module.f_mm / (ray @ u)


def _sensitivity(module: Module, point: np.ndarray, aperture_mm: float = D_EFF_MM) -> float:
    ray = module.h_mm * _towards(module) - point
    distance = ray @ _towards(module)
    return float((distance / np.linalg.norm(ray)) ** 3 * aperture_mm**2 / (16 * distance**2))


@pytest.mark.parametrize("attenuated", [True, False])
def test_keeps_the_promises_of_a_camera(attenuated, generator):
    data = 0.3 * torch.rand(SMALL.shape, generator=generator, dtype=torch.float64)
    mu = Volume(data, SMALL, attenuation(140.5)) if attenuated else None
    check_camera(COARSE.views([2, 9, 16]), SMALL, mu)


def test_every_point_well_inside_has_its_sensitivity_and_its_place_in_every_module():
    grid = Grid.regular((5, 5, 5), 30.0)
    points = grid.points().reshape(-1, 3)
    inside = np.flatnonzero(np.linalg.norm(points, axis=1) <= 65)
    seen = DNM.system(grid)(torch.eye(125, dtype=torch.float64)[inside].reshape(-1, 5, 5, 5)).numpy()
    for view, module in enumerate(DNM.modules):
        total = seen[:, view].sum((1, 2))
        assert total == pytest.approx([_sensitivity(module, points[v]) for v in inside], rel=0.01)
        centroids = np.einsum("nrc,rcx->nx", seen[:, view], _pixel_centres(module)) / total[:, None]
        expected = np.stack([_image_point(module, points[v]) for v in inside])
        assert np.linalg.norm(centroids - expected, axis=1).max() < 0.5 * PIXEL_MM


@given(
    phi=st.floats(-180, 180),
    tau=st.floats(-60, 60),
    h=st.floats(150, 300),
    f=st.floats(60, 120),
    place=st.tuples(*[st.floats(-25, 25)] * 3),
)
def test_any_module_shows_a_point_where_the_line_through_the_pinhole_ends(phi, tau, h, f, place):
    module, point = Module("M", phi, tau, h, f), np.array(place)
    seen = replace(DNM, modules=(module,)).system(Grid.regular((1, 1, 1), 4.0, centre_mm=place))(
        torch.ones(1, 1, 1, dtype=torch.float64)
    )[0]
    assert float(seen.sum()) == pytest.approx(_sensitivity(module, point), rel=1e-3)
    centroid = np.einsum("rc,rcx->x", seen.numpy(), _pixel_centres(module)) / float(seen.sum())
    assert np.linalg.norm(centroid - _image_point(module, point)) < 0.5 * PIXEL_MM


def test_the_spot_is_the_projected_aperture_blurred_by_the_pixel():
    depths = Grid.regular((1, 1, 9), 5.0)
    module = Module("side", 90.0, 0.0, 205.0, 85.0)
    fine = replace(DNM, modules=(module,), shape=(96, 96), pixel_mm=0.82)
    seen = fine.system(depths)(torch.eye(9, dtype=torch.float64).reshape(9, 1, 1, 9))[:, 0]
    offset = 0.82 * (torch.arange(96, dtype=torch.float64) - 47.5)
    for n, x in enumerate(depths.points()[0, 0, :, 0]):
        spot = seen[n] / seen[n].sum()
        diameter = D_EFF_MM * (1 + 85 / (205 - x))
        for profile in (spot.sum(0), spot.sum(1)):
            assert float((profile * offset**2).sum()) == pytest.approx(diameter**2 / 16 + 0.82**2 / 12, rel=0.01)


@pytest.mark.parametrize(
    ("name", "pinhole_mm"),
    [
        ("C1", (-145, -145, 0)),
        ("C3", (0, -205, 0)),
        ("C5", (145, -145, 0)),
        ("C7", (205, 0, 0)),
        ("C9", (145, 145, 0)),
        ("S3", (125.5, -125.5, 102.5)),
        ("I3", (125.5, -125.5, -102.5)),
    ],
)
def test_pinholes_are_where_the_description_puts_them(name, pinhole_mm):
    module = next(m for m in DNM.modules if m.name == name)
    assert module.h_mm * module.axes[0] == pytest.approx(pinhole_mm, abs=0.1)


def test_the_image_is_inverted():
    anterior = [m.name for m in DNM.modules].index("C3")
    centre, left, head = (DNM.project(p)[anterior] for p in ([0, 0, 0], [20, 0, 0], [0, 0, 20]))
    assert centre.tolist() == [15.5, 15.5]
    shift = 20 * 85 / 205 / PIXEL_MM
    assert left == pytest.approx([15.5, 15.5 - shift])
    assert head == pytest.approx([15.5 - shift, 15.5])


def _sphere(diameter_mm: float, generator: torch.Generator) -> np.ndarray:
    points = torch.randn(4000, 3, generator=generator, dtype=torch.float64).numpy()
    return 0.5 * diameter_mm * points / np.linalg.norm(points, axis=1, keepdims=True)


def test_a_sphere_of_170_mm_is_inside_all_fields(generator):
    assert DNM.sees(_sphere(170.0, generator)).all()
    assert not DNM.sees(_sphere(180.0, generator)).all(0).all()


def test_a_shorter_module_sees_a_sphere_of_190_mm(generator):
    shorter = tuple(replace(m, f_mm=75.0) for m in DNM.modules)
    assert replace(DNM, modules=shorter, half_opening_deg=28.0).sees(_sphere(190.0, generator)).all()


def test_the_field_follows_its_centre(generator):
    heart = (40.0, -30.0, 10.0)
    points = _sphere(100.0, generator)
    moved = replace(DNM, fov_centre_mm=heart)
    assert np.allclose(moved.project(points + heart), DNM.project(points))
    still = moved.system(Grid.regular((3, 5, 5), 30.0, centre_mm=heart))
    image = torch.rand(3, 5, 5, generator=generator)
    assert torch.equal(still(image), DNM.system(SMALL)(image))


def test_what_is_behind_the_pinhole_has_no_place():
    camera = DNM.views([7])
    behind = np.array([0.0, -250.0, 0.0])
    assert np.isnan(camera.project(behind)).all()
    assert not camera.sees(behind).any()


@pytest.mark.parametrize("n", [9, 7, 5, 3, 1])
def test_few_views_are_the_middle_of_the_central_row(n):
    names = [m.name for m in DNM.few(n).modules]
    assert names == [f"C{k}" for k in range(5 - n // 2, 6 + n // 2)]


@pytest.mark.parametrize("n", [-1, 0, 2, 8, 11, 19])
def test_an_impossible_few(n):
    with pytest.raises(BadArgument, match="9, 7, 5, 3, 1"):
        DNM.few(n)


def test_the_small_camera_is_the_central_row_of_the_large():
    assert Pinhole.named("myospect_es") == DNM.few(9)


@pytest.mark.parametrize("indices", [[-1], [19], [0, 25], []])
def test_a_module_that_is_not_there(indices):
    with pytest.raises(BadArgument, match="of 19"):
        DNM.views(indices)


def test_an_unknown_name():
    with pytest.raises(BadArgument, match="dnm_530c, myospect_es"):
        Pinhole.named("dnm_999")


def test_a_record_survives_json():
    camera = replace(DNM, fov_centre_mm=(1.0, 2.0, 3.5), hole_mm=4.0)
    assert Pinhole.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


TOML = """
shape = [8, 8]
pixel_mm = 9.84
hole_mm = 5.1
hole_mu_per_cm = 36
half_opening_deg = 25
fov_centre_mm = [0, 0, 0]
modules = [{ name = "A", phi_deg = 10, tau_deg = 0, h_mm = 180, f_mm = 90.5 }]
"""


def test_a_camera_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    camera = Pinhole.from_toml(path)
    assert camera.modules == (Module("A", 10.0, 0.0, 180.0, 90.5),)
    assert camera.projection_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hole_mm = 5.1", "hole_mm = 5.1\nhole_cm = 0.5", "hole_cm"),
        ("hole_mm = 5.1", "", "hole_mm"),
        ("h_mm = 180", "h = 180", "module 'A'"),
        ("h_mm = 180", "h_mm = -180", "h_mm -180"),
        ("tau_deg = 0", "tau_deg = 90", "tau 90"),
        ("hole_mm = 5.1", "hole_mm = '5.1'", r"hole_mm = \['5.1'\]"),
        ("hole_mm = 5.1", "hole_mm = true", r"hole_mm = \[True\]"),
        ("hole_mm = 5.1", "hole_mm = nan", "hole_mm nan"),
        ("half_opening_deg = 25", "half_opening_deg = 90", "half_opening_deg 90"),
        ("shape = [8, 8]", "shape = [8.5, 8]", "whole number"),
        ("shape = [8, 8]", "shape = [8, 0]", "positive rows"),
        ("shape = [8, 8]", "shape = [8]", "shape"),
        ("shape = [8, 8]", "shape = 8", "shape"),
        ("fov_centre_mm = [0, 0, 0]", "fov_centre_mm = [0, 0]", "fov_centre_mm"),
        ("fov_centre_mm = [0, 0, 0]", "fov_centre_mm = [0, 0, inf]", "finite centre"),
        ('name = "A"', "name = 1", "name"),
        ("modules = [{", "modules = [] \nother = [{", "other"),
        ("modules = [{", "modules = 1 #", "modules"),
        ("modules = [{", "modules = [1] #", "modules"),
    ],
)
def test_a_toml_that_describes_no_camera(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(TOML.replace(old, new))
    with pytest.raises(BadArgument, match=message):
        Pinhole.from_toml(path)


@pytest.mark.parametrize("content", [b"shape = [32,", b"\xff\xfe\x00", None])
def test_a_damaged_toml(tmp_path, content):
    path = tmp_path / "damaged.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"damaged\.toml"):
        Pinhole.from_toml(path)


def test_no_modules():
    with pytest.raises(BadArgument, match="0 modules"):
        replace(DNM, modules=())


@pytest.mark.parametrize(
    "grid",
    [
        Grid.regular((3, 5, 5), (20.0, 30.0, 30.0)),
        Grid((3, 5, 5), ((0.0, 0.0, 30.0, 0.0), (0.0, -30.0, 0.0, 0.0), (30.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))),
    ],
)
def test_a_grid_of_other_axes(grid):
    with pytest.raises(GridMismatch, match="isotropic voxels along LPS"):
        DNM.system(grid)
