"""Attenuation maps are read in 1/cm by a scale of the header, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from photopeak.core import attenuation
from photopeak.core.errors import BadValues, UnreadableFile, WrongModality
from photopeak.io.dicom_nm_mu import read_nm_mu

MakeNM = Callable[..., Path]


def stored_map(**tags: Any) -> Callable[[pydicom.Dataset], None]:
    """Makes of an NM image a map that stores 154 for water, without scale but for the tags given."""

    def edit(dataset: pydicom.Dataset) -> None:
        del dataset.RealWorldValueMappingSequence
        pixels = np.full((dataset.NumberOfFrames, dataset.Rows, dataset.Columns), 154, dtype="<u2")
        pixels[0] = 0
        dataset.PixelData = pixels.tobytes()
        dataset.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", "TRANSMISSION"]
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return edit


def ge(divisor: object) -> Callable[[pydicom.Dataset], None]:
    def edit(dataset: pydicom.Dataset) -> None:
        stored_map()(dataset)
        dataset.add_new(0x00330010, "LO", "GEMS_GENIE_1")
        dataset.add_new(0x00331038, "DS", divisor)

    return edit


@pytest.mark.parametrize("edit", [stored_map(RescaleSlope=0.001, RescaleIntercept=0), ge("1000")])
def test_scales_make_one_per_centimetre(nm_file: MakeNM, edit):
    mu = read_nm_mu(nm_file(edit), energy_kev=140.5)["mu"]
    assert mu.quantity == attenuation(140.5)
    assert mu.data[1:].numpy() == pytest.approx(0.154)
    assert float(mu.data[0].max()) == 0


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (stored_map(), UnreadableFile, r"without scale.*\(0033,1038\)"),
        (ge("0"), UnreadableFile, "without scale"),
        (stored_map(RescaleSlope=1, RescaleIntercept=0), BadValues, "154 1/cm"),
        (stored_map(RescaleSlope=1, RescaleIntercept=-1024), UnreadableFile, "without scale"),
        (stored_map(RescaleSlope=-0.001, RescaleIntercept=0), BadValues, "below zero"),
        (stored_map(ImageType=["ORIGINAL", "PRIMARY", "TOMO", "TRANSMISSION"]), WrongModality, "TOMO"),
    ],
)
def test_maps_without_a_believable_scale_are_refused(nm_file: MakeNM, edit, error, words):
    with pytest.raises(error, match=words):
        read_nm_mu(nm_file(edit))
