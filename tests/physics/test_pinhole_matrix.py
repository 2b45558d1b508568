import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import UnreadableFile
from photopeak.physics import pinhole_matrix
from photopeak.physics.pinhole_matrix import Rays, Sight, rays_of, read_rays, trace

SIGHT = Sight(
    name="front",
    pinhole_mm=(20.0, -180.0, 15.0),
    axes=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    focal_mm=85.0,
    aperture_mm=5.2,
    half_opening_deg=25.0,
    pixel_mm=2.46,
    shape=(32, 32),
    voxel_mm=10.0,
    grid_shape=(4, 5, 5),
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHOTOPEAK_CACHE", str(tmp_path))
    return tmp_path / "pinhole"


def _same(one: Rays, other: Rays) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Rays))


def _dense(rays: Rays, sight: Sight) -> np.ndarray:
    """[voxel, row, column]"""
    rows, columns = sight.shape
    image = np.eye(math.prod(sight.grid_shape))
    seen = np.zeros((len(image), rows * columns))
    rays.project(image, np.ones(len(rays.voxel), np.float32), seen, columns=columns, first=0, last=len(rays.voxel))
    return seen.reshape(-1, rows, columns)


@given(
    column_mm=st.floats(-90, 90), row_mm=st.floats(-90, 90), depth_mm=st.floats(40, 300), aperture_mm=st.floats(0.5, 12)
)
def test_each_pixel_takes_its_area_of_the_disc(column_mm, row_mm, depth_mm, aperture_mm):
    sight = replace(
        SIGHT,
        pinhole_mm=(column_mm, -depth_mm, row_mm),
        aperture_mm=aperture_mm,
        half_opening_deg=80.0,
        shape=(12, 10),
        pixel_mm=7.0,
        grid_shape=(1, 1, 1),
    )
    found = _dense(trace(sight), sight)[0]

    minify, fine = 85.0 / depth_mm, 60
    rows, columns = (7.0 * ((np.arange(n * fine) + 0.5) / fine - n / 2) for n in sight.shape)
    middle = (row_mm * minify, column_mm * minify)
    radius = 0.5 * aperture_mm * (1 + minify)
    disc = (rows[:, None] - middle[0]) ** 2 + (columns[None, :] - middle[1]) ** 2 <= radius**2
    area = disc.reshape(12, fine, 10, fine).sum((1, 3)) * (7.0 / fine) ** 2
    cosine = depth_mm / math.hypot(depth_mm, row_mm, column_mm)
    sensitivity = cosine**3 * aperture_mm**2 / (16 * depth_mm**2)
    # A grid of samples knows the area of a disc to about its circumference times half a step.
    error = sensitivity * (7.0 / fine) * 2 * math.pi * radius / (math.pi * radius**2)
    assert np.abs(found - sensitivity * area / (math.pi * radius**2)).max() <= min(error, sensitivity) + 1e-12


def test_rays_outside_the_cone_and_behind_the_pinhole_are_stopped():
    sight = replace(SIGHT, pinhole_mm=(100.0, 45.0, 100.0), grid_shape=(21, 12, 21), shape=(200, 200))
    rays = trace(sight)
    depth = 10.0 * np.unravel_index(rays.voxel, sight.grid_shape)[1] - 45.0
    nearer_than_the_aperture_is_wide = 5.0
    assert depth.min() == nearer_than_the_aperture_is_wide + 10
    z, y, x = np.indices(sight.grid_shape) * 10.0
    cone = np.hypot(z - 100, x - 100) <= math.tan(math.radians(25)) * (y - 45)
    cone &= y - 45 > nearer_than_the_aperture_is_wide
    assert np.array_equal(rays.voxel, np.flatnonzero(cone))


def test_the_transpose_is_the_transpose():
    rays = trace(SIGHT)
    matrix = _dense(rays, SIGHT).reshape(100, -1)
    back = np.zeros((1024, 100))
    factor = np.ones(len(rays.voxel), np.float32)
    rays.backproject(np.eye(1024), factor, back, columns=32, first=0, last=len(rays.voxel))
    assert np.array_equal(back.T, matrix)
    assert matrix.max() > 0


def test_the_second_start_reads(cache, monkeypatch):
    first = rays_of(SIGHT)
    assert [p.suffix for p in cache.iterdir()] == [".safetensors"]
    monkeypatch.setattr(pinhole_matrix, "trace", lambda sight: pytest.fail("traced again"))
    assert _same(rays_of(SIGHT), first)
    assert _same(rays_of(replace(SIGHT, name="another name")), first)


def test_everything_but_the_name_is_in_the_key():
    others = {
        "pinhole_mm": (20.0, -180.0, 15.1),
        "axes": ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
        "focal_mm": 86.0,
        "aperture_mm": 5.3,
        "half_opening_deg": 26.0,
        "pixel_mm": 2.5,
        "shape": (32, 31),
        "voxel_mm": 9.0,
        "grid_shape": (5, 4, 5),
    }
    assert set(others) == {f.name for f in fields(Sight)} - {"name"}
    assert len({replace(SIGHT, **{k: v}).key for k, v in others.items()} | {SIGHT.key}) == len(others) + 1


def _flipped(content: bytes) -> bytes:
    middle = len(content) * 3 // 4
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flipped, "checksum"),
        (lambda content: content[:-100], r"safetensors"),
        (lambda content: b"", r"safetensors"),
        (lambda content: content.replace(b"pinhole rays 1", b"pinhole rays 0"), "format"),
        (lambda content: content.replace(b'"corner"', b'"conner"'), "corner"),
    ],
)
def test_a_damaged_file_is_named_and_replaced(cache, damage, message):
    expected = trace(SIGHT)
    rays_of(SIGHT)
    path = cache / f"{SIGHT.key}.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UnreadableFile, match=message):
        read_rays(path)
    with pytest.warns(RuntimeWarning, match=path.name):
        assert _same(rays_of(SIGHT), expected)
    assert _same(read_rays(path), expected)


def test_a_file_under_another_name(cache):
    other = replace(SIGHT, focal_mm=80.0)
    rays_of(other)
    (cache / f"{other.key}.safetensors").rename(cache / f"{SIGHT.key}.safetensors")
    with pytest.warns(RuntimeWarning, match="key"):
        assert _same(rays_of(SIGHT), trace(SIGHT))


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PHOTOPEAK_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="PHOTOPEAK_CACHE"):
        assert _same(rays_of(SIGHT), trace(SIGHT))


def test_a_write_that_fails_leaves_nothing(cache, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pinhole_matrix, "save_file", full)
    with pytest.warns(RuntimeWarning, match="no space left"):
        rays_of(SIGHT)
    assert list(cache.iterdir()) == []


def test_the_default_cache_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("PHOTOPEAK_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    rays_of(SIGHT)
    assert (tmp_path / ".cache" / "photopeak" / "pinhole" / f"{SIGHT.key}.safetensors").exists()
