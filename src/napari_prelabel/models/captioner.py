"""LLaVA-1.5 and BLIP-2 as captioners, through transformers (docs/methods/reme.md#pairing)."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from ..values.errors import ImageError, ModelError
from .entries import CaptionerEntry
from .folder import load_folder, read_config
from .opened import opened

NEW_TOKENS = 512
REQUEST = (
    "Describe this image in detail. Name every object that can be seen, the parts of each object, "
    "what is around it, and its size, colour and texture. Describe the foreground and the "
    "background too: natural scenery such as the sky, clouds, water or plants, and built "
    "structures such as walls, floors or ceilings. Say only what is visible and do not guess."
)
# What each kind was trained to be asked with: LLaVA-1.5 in Vicuna's turns, BLIP-2 as a question.
PROMPTS = {
    "llava": "USER: <image>\n" + REQUEST + " ASSISTANT:",
    "blip2": "Question: " + REQUEST + " Answer:",
}


class Captioner(Protocol):
    """Describes an image in words."""

    name: str
    digest: str

    def caption(self, image: NDArray[np.uint8]) -> str:
        """Sentences on an image (H, W, 3) uint8; ImageError for anything else."""
        ...


class PromptedCaptioner:
    """A LLaVA-1.5 or BLIP-2 that is asked with `PROMPTS` and answers greedily."""

    def __init__(
        self,
        name: str,
        model: Any,
        processor: Any,
        digest: str,
        prompt: str,
        *,
        device: torch.device | str = "cpu",
        new_tokens: int = NEW_TOKENS,
    ) -> None:
        self.name, self.digest = name, digest
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor, self._prompt, self._new_tokens = processor, prompt, new_tokens

    @torch.no_grad()
    def caption(self, image: NDArray[np.uint8]) -> str:
        """What the model says of an image (H, W, 3) uint8, of any size; the prompt left out.

        Raises ImageError for another shape or type, or an image without pixels.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ImageError(
                "A captioner takes an image (height, width, 3) of uint8, not "
                f"{image.shape} {image.dtype}: convert it first."
            )
        shown = Image.fromarray(np.ascontiguousarray(image))
        inputs = self._processor(images=shown, text=self._prompt, return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        said = self._model.generate(**inputs, do_sample=False, max_new_tokens=self._new_tokens)
        asked = inputs["input_ids"].shape[1]
        words: str = self._processor.tokenizer.decode(said[0, asked:], skip_special_tokens=True)
        return " ".join(words.split())


def load_captioner(name: str, device: str = "cpu", precision: str = "float16") -> PromptedCaptioner:
    """Load a captioner of the catalogue from disk.

    Raises ModelError when it is unknown, not installed or broken, JobError for an unknown
    precision.
    """
    entry, folder, place, dtype = opened(CaptionerEntry, name, device, precision)
    return read_folder(name, folder, entry, place, dtype)


def read_folder(
    name: str,
    folder: Path,
    entry: CaptionerEntry,
    device: torch.device,
    dtype: torch.dtype,
    new_tokens: int = NEW_TOKENS,
) -> PromptedCaptioner:
    """A captioner from the files of a folder; ModelError where one is missing or broken."""
    kind, model_type, processor_of = _KINDS[entry.family]
    config = read_config(name, folder, (model_type,))
    try:
        processor = processor_of(folder, config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            name,
            f"The tokenizer or image settings of {name} are missing or broken: fetch it again. "
            f"({str(error).strip().splitlines()[0]})",
        ) from error
    model, digest = load_folder(kind, name, folder, entry, dtype)
    prompt = PROMPTS[entry.family]
    return PromptedCaptioner(
        name, model, processor, digest, prompt, device=device, new_tokens=new_tokens
    )


def _llava_processor(folder: Path, config: dict[str, Any]) -> LlavaProcessor:
    return LlavaProcessor(
        CLIPImageProcessor.from_pretrained(folder, local_files_only=True),
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
        patch_size=config["vision_config"]["patch_size"],
        vision_feature_select_strategy=config.get("vision_feature_select_strategy", "default"),
        # CLIP's class token, which the default strategy takes away again.
        num_additional_image_tokens=1,
    )


def _blip2_processor(folder: Path, config: dict[str, Any]) -> Blip2Processor:
    return Blip2Processor(
        BlipImageProcessor.from_pretrained(folder, local_files_only=True),
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
        num_query_tokens=config["num_query_tokens"],
    )


# The class, the configuration's type and the processor of each kind of row.
_KINDS: dict[str, tuple[Any, str, Any]] = {
    "llava": (LlavaForConditionalGeneration, "llava", _llava_processor),
    "blip2": (Blip2ForConditionalGeneration, "blip-2", _blip2_processor),
}
