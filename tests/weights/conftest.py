"""Fixtures of the tests of weights."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    """Give other tests their threads back: training sets how many there are."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
