"""Clip against open_clip itself, on small random models."""

import copy
import json
import math
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from napari_prelabel.models import clip as clip_module
from napari_prelabel.models import entries, places
from napari_prelabel.models.clip import Clip, load_clip, load_folder
from napari_prelabel.models.entries import ClipEntry
from napari_prelabel.models.opened import pick_device
from napari_prelabel.models.text import IMAGENET_TEMPLATES
from napari_prelabel.models.vision import resize_positions
from napari_prelabel.values.errors import ChecksumMismatch, JobError, ModelError

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 16,
        "layers": 4,
        "width": 32,
        "head_width": 8,
        "patch_size": 4,
    },
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3},
}
RESNET = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": CONFIG["text_cfg"],
}
TEMPLATES = ("a photo of a {}.", "{}", "the {} at night", "a {} in a video game.")
WORDS = ("cat", "traffic light", "Ärger", "dog")


def make(quick_gelu=False, config=CONFIG, **vision):
    config = copy.deepcopy(config) | {"quick_gelu": quick_gelu}
    config["vision_cfg"] |= vision
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    with torch.no_grad():  # fresh models have zero biases, which hide mistakes
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.double().eval()


def clip_of(model, precision="float64", name="small"):
    unit = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Clip(name, copy.deepcopy(model), "digest", precision=precision, **unit)


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def clip(model):
    return clip_of(model)


@pytest.fixture(scope="module")
def resnet():
    model = make(config=RESNET)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return model


def near(got, expected, atol=1e-12):
    torch.testing.assert_close(got.double(), expected.detach().double(), atol=atol, rtol=0)


@pytest.mark.parametrize(
    "vision",
    [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True},
     {"no_ln_pre": True}, {"ls_init_value": 0.2}, {"patch_size": 8}],
)  # fmt: skip
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_trunk_and_vanilla_tail_are_open_clips_forward(quick_gelu, vision):
    model = make(quick_gelu, **vision)
    model.visual.output_tokens = True
    pixels = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    pooled, tokens = model.visual(pixels)
    clip = clip_of(model)
    trunk = clip.encode_trunk(pixels, need={"cls", "attention"})
    near(trunk.cls, F.normalize(pooled, dim=-1))
    near(clip.encode_cls(pixels), trunk.cls)
    if not vision.get("final_ln_after_pool"):
        near(clip.dense(trunk, "vanilla"), F.normalize(tokens @ model.visual.proj, dim=-1))


@pytest.mark.parametrize("size", [(24, 16), (12, 28), (8, 8)])
def test_other_sizes_are_open_clips_forward_on_resized_positions(size):
    model = make()
    clip = clip_of(model)
    pixels = torch.rand(2, 3, *size, dtype=torch.float64)
    got = clip.encode_trunk(pixels, need={"cls"})
    assert got.grid == (size[0] // 4, size[1] // 4)
    table = model.visual.positional_embedding
    native = model.visual.grid_size
    model.visual.positional_embedding = torch.nn.Parameter(
        resize_positions(table.detach(), got.grid, "scale", native)
    )
    near(got.cls, F.normalize(model.visual(pixels), dim=-1))


def cubic(t):
    """Keys' kernel with a = -0.75, what torch's bicubic uses."""
    t, a = abs(t), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def test_positions_take_their_coordinates_from_side_plus_a_tenth():
    table = torch.randn(1 + 16, 3, dtype=torch.float64)
    got = resize_positions(table, (6, 5), "scale", (4, 4))
    image = table[1:].reshape(4, 4, 3)
    for i, y in enumerate(range(6)):
        for j, x in enumerate(range(5)):
            v = (y + 0.5) * 4 / 6.1 - 0.5
            u = (x + 0.5) * 4 / 5.1 - 0.5
            value = sum(
                cubic(v - a) * cubic(u - b) * image[min(max(a, 0), 3), min(max(b, 0), 3)]
                for a in range(math.floor(v) - 1, math.floor(v) + 3)
                for b in range(math.floor(u) - 1, math.floor(u) + 3)
            )
            near(got[1 + i * 5 + j], value)
    near(got[0], table[0])


def test_gem_resizes_positions_to_the_exact_size_with_antialiasing():
    table = torch.randn(1 + 16, 3)
    got = resize_positions(table, (2, 3), "antialias", (4, 4))
    image = table[1:].T.reshape(1, 3, 4, 4)
    expected = F.interpolate(image, size=(2, 3), mode="bicubic", antialias=True)
    near(got[1:], expected.flatten(2)[0].T)
    plain = resize_positions(table, (2, 3), "scale", (4, 4))
    assert (got - plain).abs().max() > 0.01
    assert resize_positions(table, (4, 4), "scale", (4, 4)) is table


def test_a_gem_trunk_differs_by_its_positions_and_keeps_block_inputs(clip):
    pixels = torch.rand(1, 3, 24, 16, dtype=torch.float64)
    gem = clip.encode_trunk(pixels, need={"gem", "head0"})
    assert len(gem.block_inputs) == 2
    assert (gem.attention, gem.attention_head0.shape) == (None, (1, 25, 25))
    assert (gem.tokens - clip.encode_trunk(pixels).tokens).abs().max() > 1e-4
    near(
        clip.encode_cls(pixels, resize="antialias"),
        clip.encode_trunk(pixels, need={"gem", "cls"}).cls,
    )


def test_a_remainder_of_a_patch_is_left_out(clip):
    pixels = torch.rand(1, 3, 19, 17, dtype=torch.float64)
    trunk = clip.encode_trunk(pixels)
    assert trunk.grid == clip.grid(19, 17) == (4, 4)
    near(trunk.tokens, clip.encode_trunk(pixels[..., :16, :16]).tokens)


def test_large_batches_are_cut_without_a_trace(clip, monkeypatch):
    pixels = torch.rand(5, 3, 16, 16, dtype=torch.float64)
    need = {"attention", "head0", "gem", "cls"}
    whole, vectors = clip.encode_trunk(pixels, need=need), clip.encode_cls(pixels)
    monkeypatch.setattr(clip_module, "_TOKENS_AT_ONCE", 40)
    cut = clip.encode_trunk(pixels, need=need)
    for field in ("tokens", "attention", "attention_head0", "cls"):
        near(getattr(cut, field), getattr(whole, field))
    for one, other in zip(cut.block_inputs, whole.block_inputs, strict=True):
        near(one, other)
    near(clip.encode_cls(pixels), vectors)
    assert clip.encode_cls(pixels[:0]).shape == (0, 16)


def test_pixels_are_normalised_per_channel(model):
    clip = Clip("m", copy.deepcopy(model), "d", precision="float64", mean=(0.1, 0.2, 0.3))
    pixels = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    by_hand = pixels.clone()
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), entries.STD, strict=True)):
        by_hand[:, channel] = (by_hand[:, channel] - mean) / std
    near(clip.encode_cls(pixels), F.normalize(model.visual(by_hand), dim=-1))


def test_the_same_pixels_give_the_same_bits(clip):
    pixels = torch.rand(2, 3, 16, 16)
    first, second = (clip.encode_trunk(pixels, need={"attention"}) for _ in range(2))
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.attention, second.attention)


@pytest.mark.parametrize(
    ("precision", "least"), [("float32", 1 - 1e-5), ("bfloat16", 0.995), ("float16", 0.9995)]
)
@pytest.mark.parametrize("base", ["sclip", "gem", "naclip"])
def test_precisions_agree(model, clip, base, precision, least):
    pixels = torch.rand(2, 3, 24, 16)
    need = {"attention", "gem"} if base == "gem" else {"attention"}
    exact, other = clip, clip_of(model, precision)
    got, expected = (c.dense(c.encode_trunk(pixels, need=need), base) for c in (other, exact))
    assert got.dtype == torch.float32
    assert F.cosine_similarity(got.double(), expected, dim=-1).min() > least
    attention = other.encode_trunk(pixels, need=need).attention
    near(attention, exact.encode_trunk(pixels, need=need).attention, atol=2e-3)


def test_crops_in_bfloat16_are_near_and_auto_is_one_of_both(model):
    clip = clip_of(model, "float32")
    pixels = torch.rand(4, 3, 12, 12)
    exact, fast = clip.encode_cls(pixels), clip.encode_cls(pixels, precision="bfloat16")
    assert F.cosine_similarity(exact, fast, dim=-1).min() > 0.995
    auto = clip.encode_cls(pixels, precision="auto")
    assert torch.equal(auto, fast if clip_module.has_bfloat16() else exact)
    with pytest.raises(JobError, match="precision must be one of"):
        clip.encode_cls(pixels, precision="int8")


def tokens_of(texts):
    return open_clip.SimpleTokenizer(context_length=24)(list(texts))


def test_prompts_are_open_clips_text(model, clip):
    prompts = ["a photo of a cat.", "x", "a sentence that is quite long, by the lake " * 3]
    near(clip.encode_text(prompts), model.encode_text(tokens_of(prompts), normalize=True))
    assert clip.encode_text([]).shape == (0, 16)


@pytest.mark.parametrize("templates", [TEMPLATES, IMAGENET_TEMPLATES])
def test_classes_by_kept_prefixes_are_open_clips_classes(model, clip, templates):
    got = clip.encode_classes(WORDS, templates)
    for word, row in zip(WORDS, got, strict=True):
        rows = model.encode_text(tokens_of([t.format(word) for t in templates]), normalize=True)
        near(row, F.normalize(rows.mean(0), dim=0))


def test_words_are_kept_and_any_order_asks_for_new_ones_only(clip, monkeypatch):
    first = clip.encode_classes(["tree", "lake"], TEMPLATES)
    asked = []
    real = clip_module.encode_words
    monkeypatch.setattr(clip_module, "encode_words", lambda *a: (asked.extend(a[2]), real(*a))[1])
    second = clip.encode_classes(["lake", "sea", "tree", "sea"], TEMPLATES)
    assert asked == ["sea"]
    near(second[[2, 0]], first)
    assert clip.encode_classes([], TEMPLATES).shape == (0, 16)


def test_a_word_beyond_the_context_is_cut_as_open_clip_cuts_it(model, clip):
    word = "very " * 30 + "long"
    rows = model.encode_text(tokens_of([t.format(word) for t in TEMPLATES]), normalize=True)
    near(clip.encode_classes([word], TEMPLATES)[0], F.normalize(rows.mean(0), dim=0))


def test_a_word_that_fuses_with_its_template_is_still_exact(model, clip):
    templates = ("sea{}", "a {}")  # the tokeniser joins letters across the seam
    rows = model.encode_text(tokens_of([t.format("horse") for t in templates]), normalize=True)
    near(clip.encode_classes(["horse"], templates)[0], F.normalize(rows.mean(0), dim=0))


def test_descriptions_are_averaged_sentences(clip):
    sentences = (("wet and blue", "water"), ("a tall plant",))
    got = clip.encode_descriptions(sentences)
    near(got[0], F.normalize(clip.encode_text(sentences[0]).mean(0), dim=0))
    near(got[1], clip.encode_text(sentences[1])[0])
    assert clip.encode_descriptions([]).shape == (0, 16)


def test_custom_text_towers_are_read_too():
    config = copy.deepcopy(CONFIG)
    config["text_cfg"]["proj_bias"] = True
    torch.manual_seed(0)
    custom = open_clip.CustomTextCLIP(**config).double().eval()
    prompts = ["a photo of a cat."]
    got = clip_of(custom).encode_text(prompts)
    near(got, custom.encode_text(tokens_of(prompts), normalize=True))


def test_a_resnet_offers_maskclip_as_published_and_its_image_vector(resnet):
    clip = clip_of(resnet, name="rn")
    pixels = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    trunk = clip.encode_trunk(pixels, need={"cls"})
    v = resnet.visual
    near(trunk.cls, F.normalize(v(pixels), dim=-1))
    near(clip.encode_cls(pixels), trunk.cls)
    x = v.layer4(v.layer3(v.layer2(v.layer1(v.stem(pixels))))).flatten(2).transpose(1, 2)
    expected = v.attnpool.c_proj(v.attnpool.v_proj(x))
    # The pool has neither residual nor MLP: MaskCLIP's three forms are one.
    for base in ("maskclip", "maskclip_residual", "maskclip_bare"):
        near(clip.dense(trunk, base), F.normalize(expected, dim=-1))
    assert (clip.patch, trunk.grid) == (32, (2, 2))


@pytest.mark.parametrize("base", ["vanilla", "sclip", "sclip_residual", "clearclip", "naclip"])
def test_a_resnets_other_bases_attend_in_its_pool(resnet, base):
    clip = clip_of(resnet)
    pixels = torch.rand(1, 3, 96, 64, dtype=torch.float64)
    got = clip.dense(clip.encode_trunk(pixels), base)
    v = resnet.visual
    x = v.layer4(v.layer3(v.layer2(v.layer1(v.stem(pixels))))).flatten(2).transpose(1, 2)[0]
    x = torch.cat([x.mean(0, keepdim=True), x])
    pool, mixed = v.attnpool, []
    heads = pool.num_heads
    q, k, val = (p(x).chunk(heads, -1) for p in (pool.q_proj, pool.k_proj, pool.v_proj))
    place = [(y, x) for y in range(3) for x in range(2)]
    omega = torch.zeros(7, 7, dtype=torch.float64)
    omega[1:, 1:] = torch.tensor(
        [[math.exp(-((a - c) ** 2 + (b - d) ** 2) / 50) for c, d in place] for a, b in place]
    )
    for h in range(heads):
        s = q[h].shape[-1] ** -0.5
        qq, kk = q[h] @ q[h].T * s, k[h] @ k[h].T * s
        weights = {
            "vanilla": (q[h] @ k[h].T * s).softmax(-1),
            "sclip": qq.softmax(-1) + kk.softmax(-1),
            "clearclip": qq.softmax(-1),
            "naclip": (kk + omega).softmax(-1),
        }[base.partition("_")[0]]
        mixed.append(weights @ val[h])
    expected = pool.c_proj(torch.cat(mixed, -1))[1:]
    near(got[0], F.normalize(expected, dim=-1), atol=1e-7)


@pytest.mark.parametrize("need", ["attention", "head0", "gem"])
def test_a_resnet_refuses_what_needs_layers(resnet, need):
    with pytest.raises(ModelError, match="without layer attention"):
        clip_of(resnet).encode_trunk(torch.rand(1, 3, 64, 64), need={need})


def test_wrong_requests_are_refused(clip):
    trunk = clip.encode_trunk(torch.rand(1, 3, 16, 16))
    with pytest.raises(JobError, match="no base 'proxy'"):
        clip.dense(trunk, "proxy")
    with pytest.raises(JobError, match="GEM needs a trunk"):
        clip.dense(trunk, "gem")
    with pytest.raises(JobError, match=r"needs one \{\}"):
        clip.encode_classes(["x"], ["a photo"])
    with pytest.raises(JobError, match="no description"):
        clip.encode_descriptions([("a",), ()])


def test_towers_that_are_no_clip_are_refused(model):
    def refused(change, match):
        other = copy.deepcopy(model)
        change(other)
        with pytest.raises(ModelError, match=match):
            clip_of(other)

    def set_on(path, name, value):
        def change(other):
            setattr(path(other), name, value)

        return change

    def other_tower(m):
        m.visual = torch.nn.Linear(1, 1)

    def other_block(m):
        m.visual.transformer.resblocks[1] = torch.nn.Identity()

    refused(other_tower, "has a Linear as its image tower")
    refused(other_block, "has Identitys, not CLIP's blocks")
    refused(set_on(lambda m: m.visual, "pool_type", "none"), "pools its patches by attention")
    refused(set_on(lambda m: m, "text_pool_type", "last"), "no CLIP text tower")
    refused(set_on(lambda m: m, "attn_mask", None), "no CLIP text tower")


@pytest.mark.parametrize(
    ("part", "key"), [("text_cfg", "hf_model_name"), ("vision_cfg", "timm_model_name")]
)
def test_other_libraries_towers_are_refused(tmp_path, part, key):
    config = copy.deepcopy(CONFIG)
    config[part][key] = "x"
    with pytest.raises(ModelError, match="another library's towers"):
        load_folder(*saved(tmp_path, config))


def saved(folder, config=CONFIG, state=None, **entry):
    """A model folder as the demo's: (folder, name, entry)."""
    if state is None:
        torch.manual_seed(0)
        state = {k: v.half() for k, v in open_clip.CLIP(**CONFIG).state_dict().items()}
    save_file(state, folder / entries.CLIP_WEIGHTS)
    cfg = {"model_cfg": config, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    (folder / entries.CLIP_CONFIG).write_text(json.dumps(cfg))
    return folder, "tiny", ClipEntry(source="sample", licence="none", patch=4, **entry)


def test_a_folder_of_half_precision_weights_is_loaded(tmp_path):
    args = saved(tmp_path)
    clip, again = load_folder(*args), load_folder(*args)
    assert clip.digest == again.digest
    assert clip.digest != load_folder(*args, precision="bfloat16").digest
    assert (clip.mean, clip.patch, clip.embed_dim) == ((0.1, 0.2, 0.3), 4, 16)
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert clip.encode_cls(torch.rand(1, 3, 16, 16)).dtype == torch.float32


def test_other_weights_have_another_digest(tmp_path):
    folder, name, entry = saved(tmp_path)
    before = load_folder(folder, name, entry).digest
    state = {k: v + 1 for k, v in open_clip.CLIP(**CONFIG).state_dict().items()}
    assert load_folder(*saved(tmp_path, state=state)).digest != before


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path):
    folder, name, entry = saved(tmp_path)
    with pytest.raises(ChecksumMismatch):
        load_folder(folder, name, replace(entry, sha256="0" * 64))


def test_broken_folders_are_said(tmp_path):
    folder, name, entry = saved(tmp_path)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_folder(folder, name, replace(entry, files=("model.pt",)))
    (folder / entries.CLIP_WEIGHTS).write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    with pytest.raises(ModelError, match="does not hold the weights"):
        load_folder(folder, name, entry)
    saved(tmp_path, state={"x": torch.zeros(1)})
    with pytest.raises(ModelError, match="does not hold the weights"):
        load_folder(folder, name, entry)
    for text in ("{", "{}", '{"model_cfg": 3}'):
        (folder / entries.CLIP_CONFIG).write_text(text)
        with pytest.raises(ModelError, match="missing or broken"):
            load_folder(folder, name, entry)


def test_a_model_that_is_not_installed_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match="prelabel models fetch openai-vitb16"):
        load_clip("openai-vitb16")
    with pytest.raises(ModelError, match="no CLIP"):
        load_clip("vitz")
    with pytest.raises(JobError, match="precision"):
        load_clip("openai-vitb16", precision="int4")


def test_random_weights_are_seeded_and_leave_the_generator_alone(monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: copy.deepcopy(CONFIG))
    before = torch.get_rng_state()
    one, other = load_clip("vitb16-random"), load_clip("vitb16-random")
    assert torch.equal(before, torch.get_rng_state())
    pixels = torch.rand(1, 3, 16, 16)
    assert torch.equal(one.encode_cls(pixels), other.encode_cls(pixels))
    assert one.digest == other.digest


def test_devices_are_picked_or_refused():
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}
    assert pick_device("cpu").type == "cpu"
    for wrong in ("tpu", "cuda:99"):
        with pytest.raises(ModelError, match="choose auto"):
            pick_device(wrong)
