from collections import Counter

import pytest
import torch

from photopeak.simulate.disease import KINDS, Defect, at_rest, draw_defects
from photopeak.simulate.draws import Draw


@pytest.fixture(scope="module")
def people() -> list[tuple[Defect, ...]]:
    draw = Draw(torch.Generator().manual_seed(5))
    return [draw_defects(draw) for _ in range(3000)]


def test_kinds_have_their_shares(people: list[tuple[Defect, ...]]) -> None:
    kinds = Counter(defect.kind for defects in people for defect in defects)
    for kind, share in KINDS.items():
        assert kinds[kind] / kinds.total() == pytest.approx(share, abs=0.04)


def test_territories_and_multivessel_disease(people: list[tuple[Defect, ...]]) -> None:
    ill = [defects for defects in people if defects]
    assert len(ill) / len(people) == pytest.approx(0.45, abs=0.03)
    assert sum(len(defects) > 1 for defects in ill) / len(ill) == pytest.approx(0.2, abs=0.04)
    first = Counter(defects[0].territory for defects in ill)
    for territory, share in {"LAD": 0.45, "RCA": 0.30, "LCX": 0.25}.items():
        assert first[territory] / len(ill) == pytest.approx(share, abs=0.05)
    assert all(len({d.territory for d in defects}) == len(defects) for defects in ill)


def test_rest_follows_the_kind(people: list[tuple[Defect, ...]]) -> None:
    draw = Draw(torch.Generator().manual_seed(6))
    for defects in people[:500]:
        left = {defect.territory: defect for defect in at_rest(draw, defects)}
        for defect in defects:
            if defect.kind == "reversible":
                assert defect.territory not in left
            elif defect.kind == "fixed":
                assert left[defect.territory] == defect
            else:
                depth = (1 - left[defect.territory].uptake) / (1 - defect.uptake)
                assert 0.3 <= depth <= 0.7


def test_defects_are_within_limits(people: list[tuple[Defect, ...]]) -> None:
    for defect in (defect for defects in people for defect in defects):
        assert 0.2 <= defect.uptake <= 0.85
        assert 0.3 <= defect.transmural <= 1
        assert 20 < defect.radius_deg < 62
