"""Load a diffusion model: a folder in diffusers' pipeline layout, or seeded random weights."""

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.utils import is_accelerate_available
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ..values.errors import ModelError
from .denoising import Diffusion, HeadMaps
from .diffusion_shapes import SCHEDULE, SHAPES
from .entries import PIPELINE, DiffusionEntry
from .memory import is_out_of_memory, memory_told
from .opened import PRECISIONS, SEED, opened

__all__ = ["Diffusion", "HeadMaps", "load_diffusion", "load_folder", "random_diffusion"]

_OTHERS = ("text_encoder_2", "text_encoder_3", "transformer", "prior")
# Of a UNet's configuration: inputs that plain Stable Diffusion has not.
_MORE_INPUTS = (
    "addition_embed_type",
    "class_embed_type",
    "encoder_hid_dim_type",
    "num_class_embeds",
)
# Not needed, but read where they are.
_TOKENIZER = ("tokenizer/tokenizer.json", "tokenizer/added_tokens.json")
# Their presence makes the loaders read other weights than the named ones, pickled ones too.
_DETOURS = ("*.index*.json", "adapter_config.json")
_WEIGHTED = ("unet", "vae", "text_encoder")


def load_diffusion(name: str, device: str = "cpu", precision: str = "float32") -> Diffusion:
    """Load a diffusion model of the catalogue, or build it with seeded random weights.

    Raises JobError for an unknown precision, ModelError when the model is unknown, not
    installed, incomplete, of another kind, or broken.
    """
    entry, folder, target, _ = opened(DiffusionEntry, name, device, precision)
    if entry.random:
        return random_diffusion(name, entry, device=target, precision=precision)
    return load_folder(folder, name, entry, device=target, precision=precision)


def load_folder(
    folder: Path,
    name: str,
    entry: DiffusionEntry,
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Diffusion:
    """Load a pipeline folder; safetensors alone, so that nothing in it can run code.

    Raises ModelError when it is incomplete, of another kind, broken, or larger than the memory.
    """
    _refuse_others(folder, name)
    _refuse_files(folder, name, entry)
    with memory_told(name, device):
        try:
            vae = _part(AutoencoderKL, folder / "vae", entry.variant, name)
            unet = _part(UNet2DConditionModel, folder / "unet", entry.variant, name)
            scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
            prompt = _empty_prompt(folder, entry.variant, name)
        except ModelError:
            raise
        except Exception as error:  # the tokenizer's is no more than that
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                name, f"The files of {name} are damaged: fetch the model again. ({reason})"
            ) from error
        _refuse_tasks(vae, unet, prompt, name)
        digest = _digest(folder, entry)
        return _diffusion(name, vae, unet, scheduler, prompt, digest, entry, device, precision)


def _digest(folder: Path, entry: DiffusionEntry) -> str:
    """Hex SHA-256 of every file that decides the model."""
    digest = hashlib.sha256()
    for file in (*entry.files, *_TOKENIZER):
        if (folder / file).is_file():
            with (folder / file).open("rb") as stream:
                digest.update(file.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def random_diffusion(
    name: str,
    entry: DiffusionEntry,
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Diffusion:
    """The true architecture with seeded random weights and a random prompt."""
    shape = SHAPES[entry.shape]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae, unet = AutoencoderKL(**shape.vae), UNet2DConditionModel(**shape.unet)
        prompt = torch.randn(1, shape.tokens, unet.config.cross_attention_dim)
    digest = f"{entry.shape} seed {SEED}"
    scheduler = DDPMScheduler(**SCHEDULE)
    return _diffusion(name, vae, unet, scheduler, prompt, digest, entry, device, precision)


def _diffusion(
    name: str,
    vae: Any,
    unet: Any,
    scheduler: Any,
    prompt: Tensor,
    digest: str,
    entry: DiffusionEntry,
    device: torch.device | str,
    precision: str,
) -> Diffusion:
    # Only the encoder is used, and the decoder is the larger half.
    vae.decoder = vae.post_quant_conv = None
    return Diffusion(
        name,
        vae,
        unet,
        scheduler,
        prompt,
        digest,
        layers=entry.layers,
        side=entry.side,
        timestep=entry.timestep,
        device=device,
        dtype=PRECISIONS[precision],
    )


def _refuse_others(folder: Path, name: str) -> None:
    """Models whose UNet or prompt is of another kind than Stable Diffusion 1 and 2's."""
    try:
        index = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
        unet = index.get("unet", [None, None])[1]
        other = any(part in index for part in _OTHERS)
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
        raise ModelError(
            name, f"{PIPELINE} of {name} is missing or broken: fetch the model again."
        ) from error
    if other or unet != "UNet2DConditionModel":
        raise ModelError(
            name,
            f"{name} is built like SDXL or SD3, not like Stable Diffusion 1 or 2, whose "
            "self-attention NERVE reads: choose sd21-base, sd15 or sd14.",
        )


def _refuse_files(folder: Path, name: str, entry: DiffusionEntry) -> None:
    """A file that is missing, or one beside the weights that takes their place."""
    for file in entry.files:
        if not (folder / file).is_file():
            raise ModelError(name, f"{file} of {name} is missing: fetch the model again.")
    for part, pattern in product(_WEIGHTED, _DETOURS):
        for other in sorted((folder / part).glob(pattern)):
            raise ModelError(
                name,
                f"{part}/{other.name} of {name} names other weights than the model's "
                "own: delete it.",
            )


def _refuse_tasks(vae: Any, unet: Any, prompt: Tensor, name: str) -> None:
    """UNets that need more than noisy latents, a time step and the prompt."""
    told = unet.config
    if (
        told.in_channels != vae.config.latent_channels
        or told.cross_attention_dim != prompt.shape[2]
        or any(told[more] is not None for more in _MORE_INPUTS)
    ):
        raise ModelError(
            name,
            f"The UNet of {name} was made for another task, such as inpainting or enlarging: "
            "choose a model that makes images from text alone, as sd21-base, sd15 or sd14.",
        )


def _part(kind: Any, folder: Path, variant: str, name: str) -> Any:
    """One of diffusers' models, complete."""
    model, told = kind.from_pretrained(
        folder,
        use_safetensors=True,
        local_files_only=True,
        variant=variant or None,
        low_cpu_mem_usage=is_accelerate_available(),
        output_loading_info=True,
    )
    _refuse_missing(told, folder, name)
    return model


def _refuse_missing(told: dict[str, Any], folder: Path, name: str) -> None:
    missing = [*told["missing_keys"], *told["mismatched_keys"]]
    if missing:
        raise ModelError(
            name,
            f"The weights in {folder.name} of {name} lack {missing[0]} and do not fit their "
            "configuration: fetch the model again.",
        )


@torch.no_grad()
def _empty_prompt(folder: Path, variant: str, name: str) -> Tensor:
    """The empty prompt's states (1, L, C), padded to the model's length as in the pipeline."""
    transformers.utils.logging.disable_progress_bar()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    text, told = CLIPTextModel.from_pretrained(
        folder / "text_encoder",
        use_safetensors=True,
        local_files_only=True,
        variant=variant or None,
        output_loading_info=True,
    )
    _refuse_missing(told, folder / "text_encoder", name)
    length = int(text.config.max_position_embeddings)
    tokens = tokenizer(
        "", padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    states: Tensor = text.float().eval()(tokens.input_ids)[0]
    return states
