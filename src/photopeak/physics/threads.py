"""Compiled kernels over torch's threads: each runs one contiguous share inside one call that releases the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


SHARES_PER_THREAD = 4


def in_shares(job: Callable[[int, int], T], items: int) -> list[T]:
    """``job(start, stop)`` of contiguous shares of range(items), in their order; some for each of torch's threads.

    A thread that is done takes the next share. Where results are added, the bits depend on the number of threads.
    """
    threads = max(1, min(torch.get_num_threads(), items))
    if threads == 1:
        return [job(0, items)]
    shares = min(items, SHARES_PER_THREAD * threads)
    edges = [items * k // shares for k in range(shares + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, edges[:-1], edges[1:]))
