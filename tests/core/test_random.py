import torch

from photopeak.core.random import stream


def test_every_seed_and_number_is_another_stream() -> None:
    draws = [torch.rand(1, generator=stream(s, n)).item() for s in (0, 1, 2, 2026, 1 << 32) for n in range(50)]
    assert len(set(draws[:200])) == 200


def test_a_stream_repeats() -> None:
    one, again = (torch.rand(4, generator=stream(3, 9)) for _ in range(2))
    assert torch.equal(one, again)


def test_large_seeds_are_not_refused() -> None:
    assert 0 <= torch.rand(1, generator=stream(1 << 70, 5)).item() < 1
