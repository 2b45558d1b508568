"""Compiled kernels over torch's threads: each runs one contiguous share inside one call that releases the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_shares(job: Callable[[int, int], T], items: int) -> list[T]:
    """``job(start, stop)`` of contiguous shares of range(items), one for each of torch's threads, in their order.

    The shares depend only on the number of items and threads, so that sums over them have the same bits each time.
    """
    shares = max(1, min(torch.get_num_threads(), items))
    edges = [items * k // shares for k in range(shares + 1)]
    if shares == 1:
        return [job(0, items)]
    with ThreadPoolExecutor(shares) as pool:
        return list(pool.map(job, edges[:-1], edges[1:]))
