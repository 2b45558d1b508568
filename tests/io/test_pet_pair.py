"""CT and PET on one grid: means are kept, half voxels are respected, and what does not belong together is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core import FACTOR, HU, Grid, Step, Study, Volume
from photopeak.core.errors import (
    BadArgument,
    BadValues,
    GridMismatch,
    MissingInput,
    PhotopeakError,
    UnreadableFile,
    WrongQuantity,
)
from photopeak.core.units import BQML, SUV
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_pt import read_pt
from photopeak.io.nifti import write_nifti
from photopeak.io.pet_pair import Pairing, averaged, common_grid, paired, read_nifti_pair

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "petct"
NAMES = sorted(p.name for p in REAL.glob("STS_*")) if REAL.is_dir() else ["absent"]
Make = Callable[..., Path]
STEP = Step(("x",), "test")


def field(grid: Grid) -> torch.Tensor:
    """A linear function of the place [z, y, x], HU-like: linear interpolation and means of it are exact."""
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    return torch.from_numpy(3.0 * x - 2.0 * y + 5.0 * z - 150.0)


FINE = Grid.regular((30, 60, 50), (3.27, 0.977, 0.977), centre_mm=(1.3, -2.2, 10.0))
COARSE = Grid.regular((26, 9, 8), (3.27, 5.47, 5.47), centre_mm=(0.4, -1.7, 9.98))


def test_means_of_a_linear_field_are_right_to_a_thirtieth_of_a_millimetre_wherever_the_voxels_lie() -> None:
    grid = common_grid(COARSE, FINE)
    assert grid.shape == (26, 9, 8)
    mean = averaged(Volume(field(FINE), FINE, HU), grid)
    np.testing.assert_allclose(mean.data, field(grid), atol=0.1)
    assert mean.quantity == HU


def test_finer_grids_are_interpolated_as_volume_on_does() -> None:
    generator = torch.Generator().manual_seed(2)
    volume = Volume(torch.rand(COARSE.shape, generator=generator), COARSE, SUV)
    inner = Grid.regular((20, 12, 10), (2.0, 1.5, 1.5), centre_mm=COARSE.centre_mm)
    torch.testing.assert_close(averaged(volume, inner).data, volume.on(inner).data, atol=1e-5, rtol=0)


def test_a_voxel_holds_the_mean_of_what_lies_in_it() -> None:
    """Blocks of 2 x 3 x 4 voxels that fit exactly."""
    fine = Grid.regular((8, 27, 36), (1.0, 1.0, 1.0))
    coarse = Grid.regular((4, 9, 9), (2.0, 3.0, 4.0))
    data = torch.rand(fine.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    blocks = data.reshape(4, 2, 9, 3, 9, 4).mean(dim=(1, 3, 5))
    torch.testing.assert_close(averaged(Volume(data, fine, SUV), coarse).data, blocks)


def test_beyond_the_ct_is_what_is_said() -> None:
    wide = Grid.regular((30, 30, 30), 5.0, centre_mm=FINE.centre_mm)
    air = averaged(Volume(field(FINE) * 0, FINE, HU), wide, outside=-1000.0).data
    beyond = ~torch.from_numpy(
        np.all(
            np.abs(wide.points() - FINE.centre_mm) <= np.array([50, 60, 30]) * [0.977, 0.977, 3.27] / 2 + 2.6, axis=-1
        )
    )
    assert bool((air[beyond] == -1000).all())
    assert float(air[15, 15, 15]) == 0.0
    assert set(air.unique().tolist()) == {-1000.0, 0.0}


def ct_values() -> np.ndarray:
    """Air around a warm block, with the padding of a scanner in one corner."""
    values = np.full((24, 60, 60), -1000.0)
    values[:, 10:50, 10:50] = 40
    values[:, :3, :3] = -3024
    return values


def pt_values() -> np.ndarray:
    values = np.random.default_rng(3).uniform(100, 2000, (22, 10, 10))
    values[10, 5, 5] = 30000
    return values


@pytest.fixture
def two() -> tuple[Study, Study]:
    """A CT and a PET as the readers give them, in one frame of reference."""
    facts = {"kvp": 120.0, "dicom": {"frame_of_reference_sha256": "one"}}
    ct_grid = Grid.regular((24, 60, 60), (3.27, 0.977, 0.977), centre_mm=(17, 32, 7.6))
    pet_grid = Grid.regular((22, 10, 10), (3.27, 5.47, 5.47), centre_mm=(14, 30, 4.3))
    ct = Volume.from_numpy(ct_values(), ct_grid, HU)
    pet = Volume.from_numpy(pt_values() / 1000, pet_grid, SUV)
    return Study("ct", facts=facts).add({"ct": ct}, STEP), Study("pt", facts=facts).add({"pet": pet}, STEP)


def test_dicom_of_one_visit(ct_series: Make, pt_series: Make) -> None:
    ct, pet = read_ct(ct_series(ct_values())), read_pt(pt_series(pt_values()))
    study = paired(ct, pet)
    study["ct"].grid.require_same(study["pet"].grid, mine="ct", theirs="pet")
    assert (study["ct"].quantity, study["pet"].quantity) == (HU, SUV)
    assert study.facts["kvp"] == 120
    assert float(study["ct"].data.min()) == pytest.approx(-1000, abs=1e-3)
    kept = study["pet"].grid
    inside = averaged(pet["pet"], kept)
    assert torch.equal(inside.data, study["pet"].data)
    assert float(study["pet"].data.max()) == float(pet["pet"].data.max())
    assert study.facts["pet_within_ct"] == pytest.approx(kept.shape[0] * kept.shape[1] * kept.shape[2] / 2200, abs=1e-4)
    assert [step.by for step in study.history] == ["read_ct", "read_pt", "pair"]


def test_a_stated_voxel(two: tuple[Study, Study]) -> None:
    study = paired(*two, Pairing(spacing_mm=4.0))
    assert study["ct"].grid.spacing_mm == pytest.approx((4, 4, 4))
    assert study["pet"].grid.same_as(study["ct"].grid)


def replaced(study: Study, **facts: object) -> Study:
    return study.with_facts(**facts)


@pytest.mark.parametrize("label", [1.0, 7.0, 255.0])
def test_a_lesion_is_as_large_whatever_its_label(two: tuple[Study, Study], label: float) -> None:
    ct, pet = two
    lesion = torch.zeros(pet["pet"].data.shape)
    lesion[8:14, 3:7, 3:7] = label
    pet = pet.add({"lesion": Volume(lesion, pet["pet"].grid, FACTOR)}, STEP)
    found = paired(ct, pet, Pairing(spacing_mm=4.0))["lesion"]
    assert set(found.data.unique().tolist()) == {0.0, 1.0}
    assert float(found.data.sum()) * 4.0**3 == pytest.approx(6 * 3.27 * (4 * 5.47) ** 2, rel=0.15)


REFUSALS: list[tuple[Callable[[Study, Study], Study], type[PhotopeakError], str]] = [
    (
        lambda ct, pet: paired(ct, replaced(pet, dicom={"frame_of_reference_sha256": "other"})),
        GridMismatch,
        "two different frames",
    ),
    (lambda ct, pet: paired(replaced(ct, dicom={}), pet), GridMismatch, "without a frame"),
    (lambda ct, pet: paired(replaced(ct, kvp=None), pet), MissingInput, r"\(0018,0060\).*--kvp"),
    (lambda ct, pet: paired(replaced(ct, kvp=12.0), pet), BadArgument, "12"),
    (lambda ct, pet: paired(ct.add({"ct": moved(ct["ct"], 500)}, STEP), pet), GridMismatch, "one visit"),
    (lambda ct, pet: paired(ct.add({"ct": turned(ct["ct"])}, STEP), pet), GridMismatch, "parallel"),
    (lambda ct, pet: paired(ct.add({"ct": magnetic(ct["ct"])}, STEP), pet), BadValues, "an MR is not"),
    (lambda ct, pet: paired(pet.add({"ct": pet["pet"]}, STEP), pet), WrongQuantity, "CT number"),
    (lambda ct, pet: paired(ct, pet.add({"pet": hot(pet["pet"])}, STEP)), BadValues, "Bq/ml"),
]


def moved(volume: Volume, by_mm: float) -> Volume:
    matrix = volume.grid.matrix
    matrix[2, 3] += by_mm
    return Volume(volume.data, Grid(volume.grid.shape, tuple(map(tuple, matrix))), volume.quantity)


def turned(volume: Volume) -> Volume:
    matrix = volume.grid.matrix
    turn = np.array([[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    return Volume(volume.data, Grid(volume.grid.shape, tuple(map(tuple, matrix))), volume.quantity)


def magnetic(volume: Volume) -> Volume:
    return volume.with_data((volume.data + 1000).clamp(min=0))


def hot(volume: Volume) -> Volume:
    return volume.with_data(volume.data * 1000)


@pytest.mark.parametrize(("act", "error", "words"), REFUSALS)
def test_refusals(
    two: tuple[Study, Study], act: Callable[[Study, Study], Study], error: type[PhotopeakError], words: str
) -> None:
    with pytest.raises(error, match=words):
        act(*two)


def test_what_the_user_says_decides(two: tuple[Study, Study]) -> None:
    ct, pet = two
    study = paired(replaced(ct, dicom={}, kvp=None), pet, Pairing(kvp=140, same_frame=True))
    assert study.facts["kvp"] == 140
    assert paired(ct, pet, Pairing(kvp=140)).facts["kvp"] == 120
    concentration = paired(ct, pet.add({"pet": Volume(pet["pet"].data * 5000, pet["pet"].grid, BQML)}, STEP))
    assert concentration["pet"].quantity == BQML


def nifti_pair(folder: Path, *, shift_mm: float = 0.0) -> Path:
    folder.mkdir()
    write_nifti(Volume(field(FINE), FINE, HU), folder / "CTres.nii.gz")
    ones = torch.ones(COARSE.shape)
    ones[5, 5, 5] = 3
    write_nifti(Volume(ones, COARSE, SUV), folder / "SUV.nii.gz")
    write_nifti(moved(Volume((ones > 2).float(), COARSE, FACTOR), shift_mm), folder / "SEG.nii.gz")
    return folder


def test_nifti_by_name(tmp_path: Path) -> None:
    study = read_nifti_pair(nifti_pair(tmp_path / "a"), kvp=120)
    assert float(study["pet"].data[study["lesion"].data > 0]) == 3
    assert study["lesion"].grid.same_as(study["ct"].grid)
    with pytest.raises(GridMismatch, match="lesion"):
        read_nifti_pair(nifti_pair(tmp_path / "b", shift_mm=2.0), kvp=120)
    (tmp_path / "a" / "CTres.nii.gz").rename(tmp_path / "a" / "x.nii.gz")
    with pytest.raises(UnreadableFile, match="ctres"):
        read_nifti_pair(tmp_path / "a", kvp=120)
    for name in ("ct.nii.gz", "CT_image.nii"):
        (tmp_path / "a" / name).write_bytes(b"")
    with pytest.raises(UnreadableFile, match="two files for ct"):
        read_nifti_pair(tmp_path / "a", kvp=120)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real pairs in ../shared/data/petct")
@pytest.mark.parametrize("name", NAMES)
def test_real_pairs_lie_on_one_another(name: str) -> None:
    """The sarcoma that was drawn on one image is soft tissue in the CT and takes up more than its surroundings."""
    study = read_nifti_pair(REAL / name, kvp=120)
    assert study["ct"].grid.same_as(study["pet"].grid)
    assert study["lesion"].grid.same_as(study["pet"].grid)
    lesion, ct, pet = (study[key].data for key in ("lesion", "ct", "pet"))
    assert 0 < float(ct[lesion > 0].mean()) < 80
    tissue = (ct > -200) & (lesion == 0)
    assert float(pet[lesion > 0].mean()) > 1.5 * float(pet[tissue].mean())
    assert float(((ct < -500) & (lesion > 0)).sum()) < 0.03 * float(lesion.sum())


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real pairs in ../shared/data/petct")
def test_all_real_pairs_are_there() -> None:
    assert len(NAMES) == 23
