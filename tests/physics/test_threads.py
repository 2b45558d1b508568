import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.physics.threads import in_shares


@given(st.integers(1, 40), st.integers(1, 5))
def test_shares_are_the_whole_in_order(items, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shares = in_shares(lambda start, stop: list(range(start, stop)), items)
    finally:
        torch.set_num_threads(before)
    assert all(shares)
    assert [item for share in shares for item in share] == list(range(items))


def test_an_error_in_a_share_is_raised():
    def job(start, stop):
        raise ValueError(f"{start} to {stop}")

    with pytest.raises(ValueError, match="0 to"):
        in_shares(job, 9)


def test_one_thread_stays_where_it_is():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (where,) = in_shares(lambda start, stop: threading.current_thread(), 9)
    finally:
        torch.set_num_threads(before)
    assert where is threading.current_thread()
