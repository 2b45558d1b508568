from collections import Counter

import pytest

from photopeak.core.errors import BadArgument
from photopeak.simulate.cohort import in_parallel, patient_names, split_of


def test_a_patient_does_not_depend_on_the_number_of_patients() -> None:
    assert patient_names(3) == patient_names(10)[:3]


def test_no_patients_are_refused() -> None:
    with pytest.raises(BadArgument, match="0 studies"):
        patient_names(0)


def test_work_is_shared_and_complete() -> None:
    assert sorted(in_parallel(str, range(7), workers=2)) == [str(n) for n in range(7)]


def test_an_error_in_a_worker_is_not_swallowed() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_parallel(int, ["1", "patient"], workers=1))  # type: ignore[list-item]


def test_splits_are_those_of_padm_and_do_not_depend_on_the_size() -> None:
    assert Counter(split_of(n) for n in range(424)) == {"train": 254, "validation": 84, "test": 86}
    assert [split_of(n) for n in range(40)] == [split_of(n + 424) for n in range(40)]
