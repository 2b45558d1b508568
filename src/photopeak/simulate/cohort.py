"""Many simulated patients: their names and splits, and working through them with all cores, resumably."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch

from photopeak.core.errors import BadArgument
from photopeak.core.processes import be_a_worker

ENDS = {"train": 254, "validation": 254 + 84, "test": 424}
SHUFFLED = torch.randperm(424, generator=torch.Generator().manual_seed(1)).tolist()


def patient_names(studies: int) -> list[str]:
    """Names of a cohort's people."""
    if studies < 1:
        raise BadArgument(f"{studies} studies", needed="at least 1", remedy="Ask for more.")
    return [f"patient_{number:04d}" for number in range(studies)]


def scan_names(person: str) -> dict[str, str]:
    """Names of a person's scans by state."""
    return {state: f"{person}_{state}" for state in ("stress", "rest")}


def split_of(number: int) -> str:
    """Split of a patient by number alone: PADM's 254/84/86 in every 424, whatever the size or seed of the cohort.

    A patient of a small cohort is therefore in the same split as in a large one of the same seed.
    """
    place = SHUFFLED.index(number % len(SHUFFLED))
    return next(split for split, end in ENDS.items() if place < end)


def in_parallel(make: Callable[[int], str], numbers: Sequence[int], *, workers: int) -> Iterator[str]:
    """Results of `make` for each number as they come, from `workers` processes with one thread each.

    `make` must be importable by the workers; an error in one stops the rest.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=be_a_worker) as pool:
        waiting = [pool.submit(make, number) for number in numbers]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
