"""SAM and SAM2 through transformers: the true classes, tiny, with random weights."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Sam2Config,
    Sam2Model,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
    pipeline,
)

from napari_prelabel.models import catalog, places
from napari_prelabel.models.entries import SegmenterEntry
from napari_prelabel.models.segmenter import KINDS, MaskSettings, load_segmenter, processor_of
from napari_prelabel.values.errors import ImageError, JobError, ModelError

SIDE = 64
# Random weights expect little overlap and draw unstable borders: keep everything.
ALL = MaskSettings(points=3, iou=0.0, stability=0.0, at_once=4)


def tiny_sam():
    vision = SamVisionConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_dim=32,
        image_size=SIDE,
        patch_size=16,
        output_channels=16,
        window_size=2,
        num_pos_feats=8,
        global_attn_indexes=[1],
    )
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=SIDE, patch_size=16)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompt.to_dict(),
        mask_decoder_config=decoder.to_dict(),
    )
    return SamModel(config)


def tiny_sam2():
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "global_attention_blocks": [3],
                "window_size_per_stage": [4, 2, 2, 2],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    return Sam2Model(config)


@pytest.fixture(params=["sam", "sam2"])
def folder(request, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = {"sam": tiny_sam, "sam2": tiny_sam2}[request.param]()
    model.save_pretrained(tmp_path / "tiny")
    entry = SegmenterEntry(source="some/where", licence="none", family=request.param)
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, "tiny": entry})
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    return tmp_path / "tiny"


def image(height=50, width=70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.usefixtures("folder")
def test_masks_may_overlap_and_the_best_come_first():
    segmenter = load_segmenter("tiny", settings=ALL)
    found = segmenter.segment(image())
    assert len(found.masks) == len(found.scores) > 0
    assert found.masks.shape[1:] == (50, 70)
    assert found.masks.dtype == np.bool_
    assert (np.diff(found.scores) <= 0).all()
    assert found.masks.any(axis=(1, 2)).all()
    again = load_segmenter("tiny", settings=MaskSettings(3, 0.0, 0.0, at_once=64))
    assert len(again.segment(image()).masks) == len(found.masks)


def test_they_are_those_of_transformers_own_pipeline(folder):
    found = load_segmenter("tiny", settings=ALL).segment(image())
    kind, _, processor = KINDS[catalog.MODELS["tiny"].family]
    pipe = pipeline(
        "mask-generation",
        model=kind.from_pretrained(folder, local_files_only=True),
        image_processor=processor_of(processor, SIDE),
        device="cpu",
    )
    expected = pipe(
        Image.fromarray(image()),
        points_per_crop=3,
        points_per_batch=4,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
    )
    scores = expected["scores"].numpy()
    np.testing.assert_allclose(found.scores, np.sort(scores)[::-1], atol=1e-4)
    best = np.asarray(expected["masks"][int(scores.argmax())])
    assert (best == found.masks[0]).mean() > 0.99


@pytest.mark.usefixtures("folder")
def test_nothing_found_is_no_masks():
    found = load_segmenter("tiny", settings=MaskSettings(2, iou=1.0)).segment(image())
    assert found.masks.shape == (0, 50, 70)
    assert found.scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 2)])
def test_thin_images_have_an_answer_or_a_sentence(folder, size):
    segmenter = load_segmenter("tiny", settings=ALL)
    if max(size) > 1 and "sam2" not in (folder / "config.json").read_text():
        with pytest.raises(ImageError, match="too thin"):
            segmenter.segment(image(*size))
    else:
        assert segmenter.segment(image(*size)).masks.shape[1:] == size


@pytest.mark.usefixtures("folder")
def test_what_is_no_image_is_refused():
    segmenter = load_segmenter("tiny", settings=ALL)
    for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="convert it first"):
            segmenter.segment(bad)


@pytest.mark.parametrize(
    "bad", [{"points": 0}, {"at_once": 0}, {"iou": 1.5}, {"stability": -0.1}, {"overlap": 2}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(JobError, match=next(iter(bad))):
        MaskSettings(**bad)


def test_the_defaults_are_the_published_ones():
    assert MaskSettings() == MaskSettings(32, 0.88, 0.95, 0.7)


def test_other_settings_and_other_weights_have_another_digest(folder):
    digest = load_segmenter("tiny", settings=ALL).digest
    assert digest == load_segmenter("tiny", settings=ALL).digest
    assert digest != load_segmenter("tiny").digest
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "initializer_range": 0.5}))
    assert digest != load_segmenter("tiny", settings=ALL).digest


def test_a_folder_of_another_model_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ModelError, match="describes a dinov2"):
        load_segmenter("tiny")


def test_unknown_and_missing_models_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match="sam-vith"):
        load_segmenter("x")
    with pytest.raises(ModelError, match="prelabel models fetch sam2-large"):
        load_segmenter("sam2-large")
    assert {e.family for e in catalog.of_kind(SegmenterEntry).values()} == set(KINDS)
