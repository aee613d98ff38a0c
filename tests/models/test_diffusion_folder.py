"""Folders of diffusion models: what is refused, what is read, and what it is called."""

import json
import shutil
from dataclasses import replace

import diffusers
import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny_diffusion import ENTRY, KINDS, LAYERS, UNET, image, write_pipeline
from transformers import CLIPTextModel, CLIPTokenizer

from napari_prelabel.models import diffusion
from napari_prelabel.models.diffusion import load_folder
from napari_prelabel.models.entries import pipeline as files_of
from napari_prelabel.values.errors import ModelError


@pytest.fixture(scope="module", autouse=True)
def quiet():
    diffusers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return folder, write_pipeline(folder)


@pytest.fixture(scope="module")
def tiny(pipeline):
    return load_folder(pipeline[0], "tiny", ENTRY)


@pytest.fixture
def folder(tmp_path, pipeline):
    return shutil.copytree(pipeline[0], tmp_path / "x")


@pytest.mark.parametrize("file", ENTRY.files[1:])
def test_every_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(ModelError, match=f"{file} of tiny is missing: fetch the model again"):
        load_folder(folder, "tiny", ENTRY)


@pytest.mark.parametrize("index", [None, "{", "[]", '{"unet": 3}', '{"unet": []}', '{"unet": {}}'])
def test_a_broken_index_is_told(folder, index):
    path = folder / "model_index.json"
    path.unlink() if index is None else path.write_text(index)
    with pytest.raises(ModelError, match=r"model_index.json of tiny is missing or broken"):
        load_folder(folder, "tiny", ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
        {"transformer": ["diffusers", "SD3Transformer2DModel"]},
        {"unet": ["diffusers", "UNet2DModel"]},
    ],
)
def test_other_kinds_of_diffusion_models_are_refused(folder, change):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=r"built like SDXL or SD3, .* choose sd21-base"):
        load_folder(folder, "tiny", ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        {"in_channels": 9},  # inpainting: the mask and the masked image beside the latents
        {"cross_attention_dim": 12},
        {"class_embed_type": "timestep"},  # enlarging, unCLIP
        {"num_class_embeds": 3},
        {
            "addition_embed_type": "text_time",  # SDXL
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 56,
        },
    ],
)
def test_unets_of_other_tasks_are_refused(folder, change):
    UNet2DConditionModel(**{**UNET, **KINDS["2.x"], **change}).save_pretrained(folder / "unet")
    with pytest.raises(ModelError, match=r"made for another task, .* choose a model that makes"):
        load_folder(folder, "tiny", ENTRY)


def test_a_layer_that_attends_to_the_prompt_is_no_self_attention(folder):
    only = UNet2DConditionModel(**UNET, **KINDS["2.x"], only_cross_attention=(True, False))
    only.save_pretrained(folder / "unet")
    model = load_folder(folder, "tiny", ENTRY)
    assert LAYERS[1] not in model.every_layer
    with pytest.raises(ModelError, match=f"UNet of tiny has no layer {LAYERS[1]}"):
        model.attention(image(), layers=LAYERS[1:])


@pytest.mark.parametrize(
    "file", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json"]
)
def test_damaged_files_are_told(folder, file):
    (folder / file).write_bytes(b"{ no")
    with pytest.raises(ModelError, match="files of tiny are damaged: fetch the model again"):
        load_folder(folder, "tiny", ENTRY)


def test_weights_that_lack_a_tensor_are_told(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"weights in unet of tiny lack conv_in.bias"):
        load_folder(folder, "tiny", ENTRY)


def test_pickled_weights_are_never_read(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(ModelError, match=r"unet/diffusion_pytorch_model.safetensors .* missing"):
        load_folder(folder, "tiny", ENTRY)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_an_index_does_not_put_pickled_weights_in_their_place(folder, part):
    from safetensors.torch import load_file

    path = folder / part / "diffusion_pytorch_model.safetensors"
    torch.save({key: torch.zeros_like(v) for key, v in load_file(path).items()}, f"{path}.bin")
    shards = {"metadata": {}, "weight_map": dict.fromkeys(load_file(path), f"{path.name}.bin")}
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps(shards))
    with pytest.raises(ModelError, match=f"{part}/{index.name} of tiny names other .* delete it"):
        load_folder(folder, "tiny", ENTRY)


def test_an_adapter_beside_the_text_encoder_is_refused(folder):
    (folder / "text_encoder" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config.json of tiny names other .* delete it"):
        load_folder(folder, "tiny", ENTRY)


def test_folders_as_they_were_published_in_2022(folder, tiny):
    """Names of tensors that diffusers and transformers have changed since."""
    from safetensors.torch import load_file, save_file

    path = folder / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{key}": value for key, value in load_file(path).items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(8)[None]
    save_file(weights, path, {"format": "pt"})
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for new, old in names.items():
        weights = {key.replace(f".{new}.", f".{old}."): value for key, value in weights.items()}
    assert "encoder.mid_block.attentions.0.query.weight" in weights
    save_file(weights, path, {"format": "pt"})
    found, wanted = load_folder(folder, "tiny", ENTRY).attention(image()), tiny.attention(image())
    assert all(torch.equal(a, b) for a, b in zip(found.keys, wanted.keys, strict=True))


def test_stable_diffusion_2_pads_its_prompt_with_exclamation_marks(folder):
    """As its special_tokens_map.json says, and not its tokenizer_config.json."""
    path = folder / "tokenizer" / "special_tokens_map.json"
    path.write_text(path.read_text().replace('"pad_token": "<|endoftext|>"', '"pad_token": "!"'))
    text = CLIPTextModel.from_pretrained(folder / "text_encoder")
    tokens = torch.tensor([[512, 513, 0, 0, 0, 0, 0, 0]])
    prompt = load_folder(folder, "tiny", ENTRY)._prompt
    torch.testing.assert_close(prompt, text(tokens)[0])


@pytest.mark.parametrize("part", ["_part", "_diffusion"])
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_to_load_is_no_damaged_file(pipeline, monkeypatch, part, error):
    def fail(*_args):
        raise error

    monkeypatch.setattr(diffusion, part, fail)
    with pytest.raises(ModelError, match="not enough memory on cpu for tiny: close other programs"):
        load_folder(pipeline[0], "tiny", ENTRY)


def test_the_half_precision_files_of_a_repository(tmp_path):
    write_pipeline(tmp_path, variant="fp16")
    entry = replace(ENTRY, files=files_of("fp16"), variant="fp16")
    assert all((tmp_path / file).is_file() for file in entry.files)
    maps = load_folder(tmp_path, "tiny", entry).attention(image())
    assert maps.queries[0].dtype == torch.float32


def test_the_digest_names_the_weights(pipeline, tiny, folder):
    assert load_folder(pipeline[0], "tiny", ENTRY).digest == tiny.digest
    path = folder / "scheduler" / "scheduler_config.json"
    before = load_folder(folder, "tiny", ENTRY).digest
    path.write_text(path.read_text().replace("0.012", "0.013"))
    assert load_folder(folder, "tiny", ENTRY).digest != before
    others = ({"layers": LAYERS[:1]}, {"side": 64}, {"timestep": 5})
    entries = [ENTRY, *(replace(ENTRY, **other) for other in others)]
    assert len({load_folder(folder, "tiny", entry).digest for entry in entries}) == 4
    before = load_folder(folder, "tiny", ENTRY).digest
    CLIPTokenizer.from_pretrained(folder / "tokenizer").save_pretrained(folder / "tokenizer")
    assert (folder / "tokenizer" / "tokenizer.json").is_file()
    assert load_folder(folder, "tiny", ENTRY).digest != before
