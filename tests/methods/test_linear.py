"""Linear layers by oneDNN equal torch's own, and give way where they could not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_prelabel.methods import linear as module
from napari_prelabel.methods.linear import linear, linear_each, onednn
from napari_prelabel.methods.threads import one_blas_thread


@pytest.mark.parametrize("shape", [(3, 5, 40), (7, 40), (1, 1, 40), (0, 40), (40,)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_the_plain_product(shape, bias, kind):
    torch.manual_seed(len(shape))
    x, weight = torch.randn(shape).to(kind), torch.randn(24, 40).to(kind)
    offset = torch.randn(24).to(kind) if bias else None
    expected = x.double().numpy() @ weight.double().numpy().T
    if offset is not None:
        expected = expected + offset.double().numpy()
    found = linear(x, weight, offset)
    assert found.dtype == kind
    bound = 0.3 if kind == torch.bfloat16 else 1e-4
    np.testing.assert_allclose(found.double().numpy(), expected, atol=bound)


def test_takes_rows_of_a_larger_weight_and_strided_input():
    weight = torch.randn(30, 16)
    x = torch.randn(16, 9).mT
    np.testing.assert_allclose(linear(x, weight[10:]), x @ weight[10:].mT, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_each_sample_has_its_own_weight(shared):
    weights = torch.randn(3, 12, 20)
    x = torch.randn(5, 20) if shared else torch.randn(3, 5, 20)
    expected = np.einsum("bmd,bed->bme", x.expand(3, 5, 20).numpy(), weights.numpy())
    np.testing.assert_allclose(linear_each(x, weights), expected, atol=1e-5)


def test_gradients_flow():
    weight = torch.randn(4, 6, requires_grad=True)
    linear(torch.ones(2, 6), weight).sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 2).all()


def test_autocast_decides_the_type():
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.ones(2, 6), torch.ones(4, 6)).dtype == torch.bfloat16


def test_without_onednn_torch_multiplies(monkeypatch):
    monkeypatch.setattr(module, "onednn", lambda: None)
    x, weights = torch.randn(3, 5, 20), torch.randn(3, 12, 20)
    assert torch.equal(linear(x, weights[0]), F.linear(x, weights[0]))
    assert torch.equal(linear_each(x, weights), x @ weights.mT)


@pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX512"), reason="needs 512-bit vectors"
)
def test_onednn_is_used_where_it_pays():
    assert onednn() is not None


def test_one_blas_thread_ends_with_its_block():
    from threadpoolctl import threadpool_info

    def counts():
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    before = counts()
    with one_blas_thread():
        assert set(counts()) == {1}
    assert counts() == before
