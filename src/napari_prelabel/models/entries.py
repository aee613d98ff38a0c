"""What a row of the catalogue says of a model, by its kind. Loads no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..methods.pairs import SIMILARITY

CLIP_CONFIG, CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
PIPELINE = "model_index.json"

# OpenAI's normalisation, which CLIPs were trained with unless their row says otherwise.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model.

    source : repository on the model hub, "sample" (ships with the package) or "random" (true
        architecture, seeded weights, nothing is fetched).
    size : bytes to fetch, about; the exact numbers are asked for when fetching.
    files : what to fetch, paths below the model's folder; all of them must be there.
    sha256 : checksum of the weights where they are one file; None takes the one the hub states,
        without which nothing is fetched.
    kind : what the model is for, in a word or two.
    """

    kind: ClassVar[str] = "model"
    source: str
    licence: str
    size: int = 0
    files: tuple[str, ...] = (CONFIG, WEIGHTS)
    sha256: str | None = None

    @property
    def random(self) -> bool:
        """Whether its weights are seeded ones, which only measure speed."""
        return self.source == "random"

    @property
    def fetchable(self) -> bool:
        """Whether it comes from a hub."""
        return self.source not in ("sample", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipEntry(ModelEntry):
    """One CLIP model.

    arch : open_clip's name of the architecture; "" when a config file lies beside the weights.
    patch : side of a patch in pixels.
    resnet : a CLIP ResNet, which has no layer attention and therefore no FreeCP and no GEM.
    words : file of the words the model was trained on, None when its vocabulary is open.
    synonyms : least cosine of the rows of two words that mean the same (docs/methods/reme.md#r5).
    """

    kind: ClassVar[str] = "CLIP"
    files: tuple[str, ...] = (CLIP_WEIGHTS,)
    arch: str = ""
    patch: int = 16
    resnet: bool = False
    mean: Triple = MEAN
    std: Triple = STD
    words: str | None = None
    synonyms: float = SIMILARITY


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualEntry(ModelEntry):
    """A visual encoder of DINOv2's architecture.

    side : images are squashed to side x side pixels.
    patch : side of a patch in pixels.
    shape : width, blocks and heads, checked against the configuration.
    """

    kind: ClassVar[str] = "encoder"
    side: int = 518
    patch: int = 14
    shape: tuple[int, int, int] = (768, 12, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterEntry(ModelEntry):
    """A model that finds masks from points."""

    kind: ClassVar[str] = "segmenter"
    family: Literal["sam", "sam2"] = "sam"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionerEntry(ModelEntry):
    """A model that describes an image in words."""

    kind: ClassVar[str] = "captioner"
    family: Literal["llava", "blip2"] = "llava"


def pipeline(variant: str = "") -> tuple[str, ...]:
    """Files of a diffusion model, weights last; variant : "fp16" for half-precision weights."""
    end = f".{variant}.safetensors" if variant else ".safetensors"
    return (
        PIPELINE,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionEntry(ModelEntry):
    """One diffusion model, a folder in the layout of diffusers' StableDiffusionPipeline.

    layers : self-attention layers whose heads are read, by their module's name in the UNet.
    side : pixels; images are squashed to side x side.
    timestep : of the noise that is added before the one denoising step.
    shape : row of `diffusion_shapes.SHAPES`; "" where the configuration lies beside the weights
        alone.
    variant : "fp16" where the repository's half-precision files are taken.
    """

    kind: ClassVar[str] = "diffusion model"
    files: tuple[str, ...] = pipeline()
    layers: tuple[str, ...]
    side: int
    timestep: int
    shape: str = ""
    variant: str = ""
