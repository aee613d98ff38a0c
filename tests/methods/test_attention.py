"""Streamed attention against the plain float64 form."""

import nerve_reference as plain
import numpy as np
import pytest
import torch

from napari_prelabel.methods import attention
from napari_prelabel.methods.attention import attend, mix, scan


def heads(seed, count=3, rows=23, columns=31, width=7, sharpness=2.0):
    rng = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(count, n, width, generator=rng, dtype=torch.float64)
        for n in (rows, columns, columns)
    )
    return sharpness * q, sharpness * k, v


@pytest.fixture(params=[1, 40, 100, 1 << 20], ids="block={}".format)
def block(request, monkeypatch):
    monkeypatch.setattr(attention, "_CPU_BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 4.0])
def test_scan_agrees_with_the_plain_form_in_single_precision(sharpness):
    q, k, v = heads(1, sharpness=sharpness)
    found = scan(q.float(), k.float(), v.float())
    for h in range(len(q)):
        a = plain.attention(q[h].numpy(), k[h].numpy(), 7**-0.5)
        np.testing.assert_allclose(found.entropy[h], plain.row_entropies(a), rtol=1e-5, atol=1e-6)
        out = a @ v[h].numpy()
        assert np.abs(found.out[h].numpy() - out).max() < 1e-5 * np.abs(out).max()
        logits = q[h] @ k[h].T * 7**-0.5
        np.testing.assert_allclose(found.logsumexp[h], logits.logsumexp(1), rtol=1e-5)


@pytest.mark.usefixtures("block")
def test_scan_is_exact_in_double_precision_and_can_leave_out_v():
    q, k, v = heads(2)
    found = scan(q, k, scale=0.3)
    assert found.out is None
    assert found.entropy.dtype == torch.float64
    a = (q @ k.mT * 0.3).softmax(2)
    np.testing.assert_allclose(found.entropy, torch.special.entr(a).sum(2), atol=1e-12)
    np.testing.assert_allclose(scan(q, k, v, scale=0.3).out, a @ v, atol=1e-12)


def test_scan_and_attend_agree():
    q, k, v = (x.float() for x in heads(3))
    torch.testing.assert_close(scan(q, k, v).out, attend(q[None], k[None], v[None])[0])


def test_entropy_knows_its_bounds():
    _, k, _ = heads(4)
    flat = scan(torch.zeros(3, 5, 7), k.float()).entropy
    torch.testing.assert_close(flat, torch.full((3, 5), float(np.log(31))))
    eye = torch.eye(7)[None]
    assert scan(1e4 * eye, eye).entropy.max() == 0
    assert scan(eye[:, :, :0], eye[:, :, :0], scale=1.0).entropy.shape == (1, 7)


def test_a_token_that_is_masked_weighs_nothing():
    q, k = torch.ones(1, 2, 1), torch.tensor([[[0.0], [-torch.inf], [0.0]]])
    found = scan(q, k, torch.tensor([[[1.0], [7.0], [3.0]]]), scale=1.0)
    torch.testing.assert_close(found.entropy, torch.full((1, 2), float(np.log(2))))
    torch.testing.assert_close(found.out, torch.full((1, 2, 1), 2.0))


def test_half_precision_is_computed_in_single():
    q, k, v = (x.to(torch.bfloat16) for x in heads(5))
    found = scan(q, k, v)
    assert found.out.dtype == found.entropy.dtype == torch.float32
    a = (q.double() @ k.double().mT * 7**-0.5).softmax(2)
    np.testing.assert_allclose(found.out, a @ v.double(), atol=1e-5)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("per_row", [False, True])
def test_mixture_is_the_weighted_sum_of_maps(per_row):
    q, k, _ = heads(6)
    w = torch.tensor([0.2, 0.0, 0.8], dtype=torch.float64)
    if per_row:
        w = torch.rand(3, 23, dtype=torch.float64)
        w[1, 4] = 0
    want = sum(
        w[h].reshape(-1, 1).numpy() * plain.attention(q[h].numpy(), k[h].numpy(), 0.4)
        for h in range(3)
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        q_, k_ = q.to(dtype), k.to(dtype)
        found = mix(q_, k_, scan(q_, k_, scale=0.4).logsumexp, w, scale=0.4)
        np.testing.assert_allclose(found.dense(), want, rtol=tolerance, atol=1e-30)
        np.testing.assert_allclose(found.rows(slice(5, 9)), want[5:9], rtol=tolerance, atol=1e-30)
        few = found.rows(torch.tensor([7, 2, 22]))
        np.testing.assert_allclose(few, want[[7, 2, 22]], rtol=tolerance, atol=1e-30)
    assert len(found.queries) == (3 if per_row else 2)


def test_a_mixture_of_no_heads_is_zero():
    q, k, _ = heads(7)
    none = mix(q, k, scan(q, k).logsumexp, torch.zeros(3))
    assert none.shape == (23, 31)
    assert not none.dense().any()


def test_no_map_is_held_whole(monkeypatch):
    """Every product of a scan is at most one block of rows of one head."""
    monkeypatch.setattr(attention, "_CPU_BLOCK", 200)
    sizes = []
    original = torch.exp
    monkeypatch.setattr(torch, "exp", lambda x: sizes.append(x.numel()) or original(x))
    scan(*heads(8))
    assert max(sizes) <= 200
    assert len(sizes) == 3 * 4
