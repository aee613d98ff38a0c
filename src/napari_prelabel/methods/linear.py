"""Linear layers on a processor, by the faster of the two libraries that PyTorch carries.

PyTorch gives float32 products to MKL, which keeps to 256-bit instructions on processors that are
not Intel's. oneDNN uses 512 bits on all that have them: on an AMD EPYC with two cores, 480 against
220 GFLOP/s in the linear layers of a ViT-B/16. Both are float32 throughout.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def onednn() -> Any:
    """oneDNN's linear layer (x, weight, bias, "none", [], ""), None where it would not pay."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return None
    carried = torch._C._has_mkldnn
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None) if carried else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weightᵀ + bias, as torch's `linear`: (..., D), (E, D) and (E,) to (..., E)."""
    if x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32:
        faster = onednn()
        if faster is not None and x.numel() and not _recorded(x, weight, bias):
            out: Tensor = faster(x, weight, bias, "none", [], "")
            return out
    return F.linear(x, weight, bias)


def linear_each(x: Tensor, weights: Tensor) -> Tensor:
    """x weightsᵀ, sample by sample: (B, M, D) or (M, D) and (B, E, D) to (B, M, E)."""
    if onednn() is None or x.device.type != "cpu":
        return x @ weights.mT
    samples = x if x.ndim == 3 else x.expand(len(weights), *x.shape)
    return torch.stack([linear(a, b) for a, b in zip(samples, weights, strict=True)])


def _recorded(*tensors: Tensor | None) -> bool:
    """Whether gradients or autocast are wanted, which oneDNN's layer knows nothing of."""
    if torch.is_autocast_enabled("cpu"):
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
