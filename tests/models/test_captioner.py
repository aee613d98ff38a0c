"""LLaVA-1.5 and BLIP-2 through transformers: the true classes, tiny, with random weights."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from napari_prelabel.models import catalog, places
from napari_prelabel.models.captioner import PROMPTS, REQUEST, load_captioner, read_folder
from napari_prelabel.models.entries import CaptionerEntry
from napari_prelabel.values.errors import ImageError, ModelError

CPU = torch.device("cpu")
SIDE, PATCH = 28, 14
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")


def save_tokenizer(folder):
    """Every word of the request, one token each; the prompt's frame as unknown words."""
    words = dict.fromkeys(w for w, _ in Whitespace().pre_tokenize_str(REQUEST))
    vocabulary = {w: i for i, w in enumerate([*SPECIAL, *words])}
    model = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    tokenizer.save_pretrained(folder)
    return len(vocabulary)


def save_llava(folder):
    size = save_tokenizer(folder)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=16,
    )
    text = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_token_id=4
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)


def save_blip2(folder):
    size = save_tokenizer(folder)
    config = Blip2Config(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        qformer_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "encoder_hidden_size": 16,
            "vocab_size": 8,
        },
        text_config=OPTConfig(
            vocab_size=size,
            hidden_size=16,
            ffn_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            word_embed_proj_dim=16,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=4,
    )
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    BlipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


@pytest.fixture(params=["llava", "blip2"])
def folder(request, tmp_path, monkeypatch):
    torch.manual_seed(0)
    (tmp_path / "tiny").mkdir()
    {"llava": save_llava, "blip2": save_blip2}[request.param](tmp_path / "tiny")
    files = tuple(sorted(p.name for p in (tmp_path / "tiny").iterdir()))
    entry = CaptionerEntry(source="some/where", licence="none", files=files, family=request.param)
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, "tiny": entry})
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    return tmp_path / "tiny"


def image(height=20, width=31):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def read(folder, new_tokens=6):
    entry = catalog.MODELS["tiny"]
    return read_folder("tiny", folder, entry, CPU, torch.float32, new_tokens)


def test_a_caption_is_greedy_words_without_the_prompt(folder):
    captioner = read(folder)
    said = captioner.caption(image())
    assert said == read(folder).caption(image())
    assert "<" not in said
    assert "Describe this image" not in said
    assert len(said.split()) <= 6
    known = set(captioner._processor.tokenizer.get_vocab())
    assert set(said.split()) <= known


def test_the_image_reaches_the_model(folder):
    captioner = read(folder)
    seen = []
    captioner._model.generate = lambda **given: (seen.append(given), given["input_ids"])[1]
    captioner.caption(image())
    (given,) = seen
    places = {"llava": (SIDE // PATCH) ** 2, "blip2": 4}
    kind = catalog.MODELS["tiny"].family
    assert int((given["input_ids"] == 4).sum()) == places[kind]
    assert given["pixel_values"].shape[-2:] == (SIDE, SIDE)
    assert given["do_sample"] is False
    assert given["max_new_tokens"] == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (300, 2)])
def test_images_of_any_shape_are_described(folder, size):
    assert isinstance(read(folder, 2).caption(image(*size)), str)


def test_loading_by_name_reads_the_same_folder(folder):
    loaded = load_captioner("tiny", precision="float32")
    assert loaded.digest == read(folder).digest
    assert loaded._new_tokens == 512


def test_what_is_no_image_is_refused(folder):
    captioner = read(folder)
    for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="convert it first"):
            captioner.caption(bad)


def test_broken_folders_are_refused_in_one_sentence(folder):
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="describes a bert"):
        load_captioner("tiny")
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer or image settings") as caught:
        load_captioner("tiny")
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_models_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"llava-1\.5-7b"):
        load_captioner("x")
    with pytest.raises(ModelError, match="prelabel models fetch blip2"):
        load_captioner("blip2-opt-2.7b")
    assert {e.family for e in catalog.of_kind(CaptionerEntry).values()} == set(PROMPTS)


def test_the_request_asks_for_what_the_paper_asks():
    for word in ("part", "size", "colour", "texture", "background", "sky", "wall", "visible"):
        assert word in REQUEST
    assert "guess" in REQUEST
    assert json.dumps(PROMPTS).count("<image>") == 1
