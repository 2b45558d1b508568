import threading

import torch

from photopeak.core.processes import be_a_worker


def test_a_process_without_a_parent_is_left_alone() -> None:
    threads, known = torch.get_num_threads(), threading.active_count()
    be_a_worker()
    assert torch.get_num_threads() == 1
    assert threading.active_count() == known
    torch.set_num_threads(threads)
