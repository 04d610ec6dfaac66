import pytest
import torch

from weights.compute import has_native_bfloat16, resolve_device, resolve_dtype
from weights.errors import InvalidInput


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("meta")) == torch.device("meta")
    assert resolve_device("auto").type in ("cuda", "mps", "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there(name):
    with pytest.raises(InvalidInput, match="No device"):
        resolve_device(name)


def test_dtypes():
    cpu = torch.device("cpu")
    assert resolve_dtype("float32", cpu) == torch.float32
    assert resolve_dtype("bfloat16", cpu) == torch.bfloat16
    assert resolve_dtype("auto", cpu) == (torch.bfloat16 if has_native_bfloat16() else torch.float32)
    assert resolve_dtype("auto", torch.device("cuda")) == torch.float32
    with pytest.raises(InvalidInput, match="float16"):
        resolve_dtype("float16", cpu)
