"""Worker processes: one thread each, and none that outlives who started it."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

import torch


def be_a_worker() -> None:
    """Compute on one thread, and leave when the parent is gone, however it went.

    Without that a worker whose parent was killed waits for its next task forever. What it was writing is not there,
    since files appear whole or not at all. In a process without a parent nothing but the thread changes.
    """
    torch.set_num_threads(1)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
