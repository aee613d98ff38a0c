"""Diffusion: one denoising step of a latent diffusion model, read for its self-attention.

The main path is ``Diffusion.attention``: squash the image, encode it, add noise that the image
itself seeds, run the UNet and keep the queries and keys of the named layers.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..values.errors import ImageError, JobError, ModelError
from .memory import memory_told

_CHANNELS = 3


@dataclass(frozen=True, slots=True, eq=False)
class HeadMaps:
    """Queries and keys of chosen self-attention layers, for one image.

    queries, keys : per layer (heads, N, d), in the model's precision on its device; the rows go
        through the layer's grid row by row.
    grids : (h, w) of each layer, h * w = N.
    scales : factor of the products before the softmax, d ** -0.5.
    """

    queries: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]


class _AllSeen(Exception):
    """Every layer asked for has been seen, so the rest of the UNet need not run."""


class Tap:
    """An attention processor that hands queries and keys out and leaves the output alone.

    The output is the inner processor's own, on the untouched input, hence equal bit for bit.

    seen : filled with layer name -> (queries, keys), each (B, heads, N, d).
    until : when given, `_AllSeen` ends the forward pass once so many layers were seen.
    """

    def __init__(
        self,
        inner: Any,
        name: str,
        seen: dict[str, tuple[Tensor, Tensor]],
        until: int | None = None,
    ) -> None:
        self.inner, self.name, self.seen, self.until = inner, name, seen, until

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        def heads(rows: Tensor) -> Tensor:
            batch, count, _ = rows.shape
            return rows.view(batch, count, attn.heads, -1).transpose(1, 2).contiguous()

        self.seen[self.name] = heads(attn.to_q(hidden_states)), heads(attn.to_k(hidden_states))
        if self.until is not None and len(self.seen) == self.until:
            raise _AllSeen
        return self.inner(attn, hidden_states, *args, **kwargs)


@contextlib.contextmanager
def tapped(
    modules: Mapping[str, Any], until: int | None = None
) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Queries and keys of attention modules, filled by what runs inside the block."""
    inner = {name: module.processor for name, module in modules.items()}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    try:
        for name, module in modules.items():
            module.set_processor(Tap(inner[name], name, seen, until))
        yield seen
    finally:
        for name, module in modules.items():
            module.set_processor(inner[name])


def content_seed(image: npt.NDArray[np.uint8]) -> int:
    """A number that only the image's size and pixels decide, below 2 ** 63."""
    content = hashlib.sha256(f"{image.shape} ".encode())
    content.update(np.ascontiguousarray(image).data)
    return int.from_bytes(content.digest()[:8], "big") >> 1


def _squashed(image: npt.NDArray[np.uint8], side: int) -> Tensor:
    """(1, 3, side, side) float32 in [-1, 1] of an image (H, W, 3)."""
    # A channel at a time: a large image in float32 takes four times its bytes.
    small = [
        F.interpolate(channel[None, None].float(), (side, side), mode="bilinear", antialias=True)
        for channel in torch.tensor(image).unbind(2)
    ]
    return (torch.cat(small, 1) / 127.5 - 1).clamp(-1, 1)


def keep_digits(device: torch.device, dtype: torch.dtype) -> None:
    """Let a GPU's convolutions in float32 not be computed with ten bits, as is the default."""
    if device.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False


def _placed(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    # Not the model's own `to`, which warns of modules to be kept in float32 even of none.
    return torch.nn.Module.to(model.eval().requires_grad_(False), device, dtype)


class Diffusion:
    """A loaded diffusion model; see `diffusion.load_diffusion`.

    digest : hex SHA-256 that changes with weights, configuration, precision and what `attention`
        reads by itself.
    layers, side, timestep : what `attention` takes when nothing else is asked for.
    every_layer : names of all self-attention layers of the UNet.
    multiple : sides must be multiples of this many pixels.
    """

    def __init__(
        self,
        name: str,
        vae: Any,
        unet: Any,
        scheduler: Any,
        prompt: Tensor,
        digest: str,
        *,
        layers: Sequence[str],
        side: int,
        timestep: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.device, self.dtype = name, torch.device(device), dtype
        self.layers, self.side, self.timestep = tuple(layers), side, timestep
        told = f"{digest} {dtype} {self.layers} {side} {timestep}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        # Half precision has too small a range for some autoencoders; bfloat16 has not.
        self._encoding = torch.float32 if dtype == torch.float16 else dtype
        keep_digits(self.device, self._encoding)
        self._vae = _placed(vae, self.device, self._encoding)
        self._unet = _placed(unet, self.device, dtype)
        self._scheduler = scheduler
        self._prompt = prompt.to(self.device, dtype)
        self._attention = {
            path: module
            for path, module in unet.named_modules()
            if path.endswith(".attn1") and not getattr(module, "is_cross_attention", True)
        }
        self.every_layer = tuple(self._attention)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.multiple = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)

    @torch.no_grad()
    def attention(
        self,
        image: npt.NDArray[np.uint8],
        *,
        side: int | None = None,
        timestep: int | None = None,
        layers: tuple[str, ...] | None = None,
    ) -> HeadMaps:
        """Queries and keys of self-attention layers in one denoising step.

        docs/methods/nerve.md#attention

        image : (H, W, 3) uint8 RGB, squashed to side x side.
        side, timestep, layers : None for the model's own; layers come back in this order.

        The prompt is empty and there is no guidance. The noise is drawn on the processor from
        the image's content, so the same image gives the same maps anywhere.

        Raises ImageError for another array, JobError for a side or timestep that cannot be, and
        ModelError for a layer that is not there, numbers that are not finite, or too little memory.
        """
        side = self.side if side is None else side
        timestep = self.timestep if timestep is None else timestep
        modules = self._chosen(self.layers if layers is None else layers)
        with memory_told(self.name, self.device, f" at {side} x {side} pixels"):
            noisy = self._noisy(image, side, timestep)
            with tapped(modules, until=len(modules)) as seen, contextlib.suppress(_AllSeen):
                self._denoise(noisy, timestep)
        self._check("attention", *(part for pair in seen.values() for part in pair))
        queries = tuple(seen[layer][0][0] for layer in modules)
        keys = tuple(seen[layer][1][0] for layer in modules)
        sides = [isqrt(q.shape[1]) for q in queries]
        scales = tuple(q.shape[-1] ** -0.5 for q in queries)
        return HeadMaps(queries, keys, tuple((n, n) for n in sides), scales)

    def _denoise(self, noisy: Tensor, timestep: int) -> Tensor:
        """The UNet's answer on noisy latents (1, 4, h, w), epsilon or velocity as trained."""
        at = torch.tensor([timestep], device=self.device)
        answer: Tensor = self._unet(noisy, at, self._prompt, return_dict=False)[0]
        return answer

    def _noisy(self, image: npt.NDArray[np.uint8], side: int, timestep: int) -> Tensor:
        """Scaled latents of the squashed image with noise: (1, 4, side / factor, ...)."""
        if image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or image.dtype != np.uint8:
            raise ImageError("The diffusion model sees (H, W, 3) images of 8 bits: convert it.")
        if 0 in image.shape:
            raise ImageError("The image has no pixels: choose one that has.")
        if side < self.multiple or side % self.multiple:
            raise JobError(
                "side", f"side must be a multiple of {self.multiple} pixels for {self.name}."
            )
        steps = int(self._scheduler.config.num_train_timesteps)
        if not 0 <= timestep < steps:
            raise JobError("timestep", f"timestep must be from 0 to {steps - 1} for {self.name}.")
        pixels = _squashed(image, side).to(self.device, self._encoding)
        latents = self._vae.encode(pixels).latent_dist.mean.float()
        self._check("latents", latents)
        latents = latents * float(self._vae.config.scaling_factor)
        generator = torch.Generator().manual_seed(content_seed(image))
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        at = torch.tensor([timestep], device=self.device)
        noisy: Tensor = self._scheduler.add_noise(latents, noise, at).to(self.dtype)
        return noisy

    def _chosen(self, layers: Sequence[str]) -> dict[str, Any]:
        for layer in layers:
            if layer not in self._attention:
                raise ModelError(
                    self.name,
                    f"The UNet of {self.name} has no layer {layer}: choose from "
                    f"{', '.join(self.every_layer)}.",
                )
        if not layers:
            raise ModelError(
                self.name,
                f"No layer of {self.name} was named: choose from {', '.join(self.every_layer)}.",
            )
        return {layer: self._attention[layer] for layer in layers}

    def _check(self, what: str, *tensors: Tensor) -> None:
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ModelError(
                self.name,
                f"The {what} of {self.name} are not finite numbers: choose the precision float32, "
                "and fetch the model again if that does not help.",
            )
