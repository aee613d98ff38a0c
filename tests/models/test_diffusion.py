"""Diffusion models: true classes, tiny widths, random weights."""

import hashlib
import shutil
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from tiny_diffusion import BLOCK, ENTRY, KINDS, LAYERS, UNET, VAE, image, write_pipeline

from napari_prelabel.models import catalog, denoising
from napari_prelabel.models.catalog import CLIPER, MODELS
from napari_prelabel.models.diffusion import load_diffusion, load_folder
from napari_prelabel.models.diffusion_shapes import SHAPES
from napari_prelabel.models.entries import DiffusionEntry
from napari_prelabel.models.places import HOME_VARIABLE
from napari_prelabel.values.errors import FileFormatError, ImageError, JobError, ModelError


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


def reference(pipeline, picture, side, timestep):
    """Query and key rows of LAYERS by the pipeline's own parts and plain forward hooks."""
    pixels = torch.as_tensor(picture).permute(2, 0, 1)[None] / 127.5 - 1
    pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    tokens = pipeline.tokenizer("", padding="max_length", max_length=8, return_tensors="pt")
    content = hashlib.sha256(f"{picture.shape} ".encode() + picture.tobytes()).digest()
    seed = int.from_bytes(content[:8], "big") >> 1
    kept = {}

    def keep(name):
        return lambda _module, _inputs, out: kept.__setitem__(name, out)

    hooks = [
        pipeline.unet.get_submodule(f"{layer}.to_{part}").register_forward_hook(keep((layer, part)))
        for layer in LAYERS
        for part in "qk"
    ]
    with torch.no_grad():
        prompt = pipeline.text_encoder(tokens.input_ids)[0]
        latents = pipeline.vae.encode(pixels).latent_dist.mean * 0.5
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
        share = pipeline.scheduler.alphas_cumprod[timestep]
        noisy = share**0.5 * latents + (1 - share) ** 0.5 * noise
        answer = pipeline.unet(noisy, timestep, prompt).sample
    for hook in hooks:
        hook.remove()
    return kept, noisy, answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("prediction", "timestep"), [("epsilon", 200), ("v_prediction", 999)])
def test_queries_and_keys_are_those_of_the_pipeline_s_own_step(
    tmp_path, kind, prediction, timestep
):
    pipeline = write_pipeline(tmp_path, kind, prediction)
    model = load_folder(tmp_path, "tiny", ENTRY)
    maps = model.attention(image(), timestep=timestep)
    kept, _, _ = reference(pipeline, image(), 32, timestep)
    for place, layer in enumerate(LAYERS):
        for part, found in (("q", maps.queries[place]), ("k", maps.keys[place])):
            heads, count, width = found.shape
            assert (heads, count) == (2, 256)
            rows = kept[layer, part].view(count, heads, width).transpose(0, 1)
            torch.testing.assert_close(found, rows, atol=1e-5, rtol=1e-4)
        assert maps.grids[place] == (16, 16)
        assert maps.scales[place] == pytest.approx(maps.queries[place].shape[-1] ** -0.5)


def test_layers_of_several_grids_and_widths_tell_their_own(tmp_path):
    write_pipeline(tmp_path, "1.x")
    layers = (f"mid_block.attentions.0.{BLOCK}", LAYERS[0])
    maps = load_folder(tmp_path, "tiny", ENTRY).attention(image(), layers=layers)
    assert [tuple(q.shape) for q in maps.queries] == [(2, 64, 8), (2, 256, 4)]
    assert maps.grids == ((8, 8), (16, 16))
    assert maps.scales == (8**-0.5, 4**-0.5)


def test_the_tap_leaves_the_unet_s_answer_bit_for_bit(pipeline, tiny):
    _, noisy, answer = reference(pipeline[1], image(), 32, 101)
    plain = tiny._denoise(noisy, 101)
    torch.testing.assert_close(plain, answer)
    modules = {name: tiny._attention[name] for name in tiny.every_layer}
    with torch.no_grad(), denoising.tapped(modules) as seen:
        answer = tiny._denoise(noisy, 101)
    assert torch.equal(answer, plain)
    assert set(seen) == set(tiny.every_layer)
    assert torch.equal(tiny._denoise(noisy, 101), plain)
    assert not any(isinstance(m.processor, denoising.Tap) for m in modules.values())


def test_softmax_of_queries_and_keys_is_the_layer_s_attention(tiny):
    """The layer's own output is what its queries and keys say, with its values."""
    layer = LAYERS[0]
    module = tiny._attention[layer]
    kept = {}
    hook = module.register_forward_hook(
        lambda _m, inputs, out: kept.update(rows=inputs[0], out=out)
    )
    with torch.no_grad(), denoising.tapped({layer: module}) as seen:
        tiny._denoise(tiny._noisy(image(), 32, 101), 101)
    hook.remove()
    q, k = (part[0].double() for part in seen[layer])
    values = module.to_v(kept["rows"]).view(-1, *q.shape[:1], q.shape[2]).transpose(0, 1).double()
    weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
    rows = (weights @ values).transpose(0, 1).flatten(1).float()
    torch.testing.assert_close(module.to_out[0](rows)[None], kept["out"], atol=1e-5, rtol=1e-4)


def test_the_rest_of_the_unet_is_not_run(tiny):
    ran = []
    hook = tiny._unet.conv_out.register_forward_hook(lambda *_: ran.append(1))
    first = f"down_blocks.0.attentions.0.{BLOCK}"
    alone = tiny.attention(image(), layers=(first,))
    hook.remove()
    assert ran == []
    both = tiny.attention(image())
    torch.testing.assert_close(alone.queries[0], both.queries[1], atol=0, rtol=0)


def test_equal_images_give_equal_maps_and_others_another_noise(tiny):
    one, two = tiny.attention(image()), tiny.attention(image())
    assert all(torch.equal(a, b) for a, b in zip(one.queries, two.queries, strict=True))
    assert denoising.content_seed(image()) != denoising.content_seed(image(seed=1))
    flat = np.zeros((4, 6, 3), np.uint8)
    assert denoising.content_seed(flat) != denoising.content_seed(flat.reshape(6, 4, 3))
    view = image(24, 80)[:, ::2]
    assert denoising.content_seed(view) == denoising.content_seed(view.copy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (64, 64)])
def test_odd_images_give_finite_maps(tiny, shape):
    maps = tiny.attention(np.full((*shape, 3), 200, np.uint8))
    assert all(part.isfinite().all() for part in (*maps.queries, *maps.keys))


def test_the_image_is_squashed_a_channel_at_a_time(monkeypatch):
    sizes = []
    original = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda x: sizes.append(x.numel()) or original(x))
    found = denoising._squashed(image(500, 300), 32)
    assert max(sizes) == 500 * 300
    planes = original(torch.as_tensor(image(500, 300)).permute(2, 0, 1)[None])
    small = F.interpolate(planes, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, small / 127.5 - 1)


def test_convolutions_keep_their_digits_on_a_gpu(monkeypatch):
    for device, dtype, wanted in (
        ("cpu", torch.float32, True), ("cuda", torch.bfloat16, True), ("cuda", torch.float32, False)
    ):  # fmt: skip
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        denoising.keep_digits(torch.device(device), dtype)
        assert torch.backends.cudnn.allow_tf32 is wanted


def test_sides_and_timesteps_can_be_chosen(tiny):
    maps = tiny.attention(image(), side=64, timestep=0)
    assert maps.grids == ((32, 32), (32, 32))
    other = tiny.attention(image(), side=64, timestep=999)
    assert not torch.equal(maps.queries[0], other.queries[0])


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"side": 30}, JobError, "side must be a multiple of 4 pixels"),
        ({"side": 0}, JobError, "side must be a multiple of 4 pixels"),
        ({"timestep": 1000}, JobError, "timestep must be from 0 to 999"),
        ({"layers": ("mid",)}, ModelError, "UNet of tiny has no layer mid: choose from down"),
        ({"layers": ()}, ModelError, "No layer of tiny was named: choose from down"),
        ({"image": np.zeros((4, 4), np.uint8)}, ImageError, "convert it"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, ImageError, "convert it"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, ImageError, "no pixels"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tiny, settings, error, told):
    with pytest.raises(error, match=told):
        tiny.attention(**{"image": image(), **settings})


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_close(pipeline, tiny, precision):
    low = load_folder(pipeline[0], "tiny", ENTRY, precision=precision)
    maps, exact = low.attention(image()), tiny.attention(image())
    assert low.digest != tiny.digest
    # Stable Diffusion's autoencoder leaves float16's range.
    assert low._vae.dtype == (torch.float32 if precision == "float16" else torch.bfloat16)
    for found, wanted in zip(maps.queries, exact.queries, strict=True):
        assert found.dtype == getattr(torch, precision)
        # Queries of deviation 0.55: errors of 0.0067 and 0.044 were seen.
        least = {"float16": 0.02, "bfloat16": 0.1}[precision]
        torch.testing.assert_close(found.float(), wanted, atol=least, rtol=0)


@pytest.mark.parametrize(("part", "what"), [("vae", "latents"), ("unet", "attention")])
def test_numbers_that_are_not_finite_are_told(folder, part, what):
    model = load_folder(folder, "tiny", ENTRY)
    broken = model._vae.quant_conv if part == "vae" else model._unet.conv_in
    broken.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=f"{what} of tiny are not finite .* precision float32"):
        model.attention(image())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_told(tiny, monkeypatch, error):
    def fail(*_args):
        raise error

    monkeypatch.setattr(tiny, "_denoise", fail)
    with pytest.raises(ModelError, match=r"not enough memory on cpu for tiny at 32 x 32 pixels"):
        tiny.attention(image())


def test_other_errors_stay_themselves(tiny, monkeypatch):
    def fail(*_args):
        raise RuntimeError("another")

    monkeypatch.setattr(tiny, "_denoise", fail)
    with pytest.raises(RuntimeError, match="another"):
        tiny.attention(image())


def test_random_weights_are_the_same_again(monkeypatch):
    small = replace(SHAPES["sd21"], unet={**UNET, **KINDS["2.x"]}, vae=VAE, tokens=8)
    monkeypatch.setitem(SHAPES, "sd21", small)
    entry = replace(MODELS["sd21-random"], layers=LAYERS, side=32)
    monkeypatch.setitem(MODELS, "sd21-random", entry)
    one, two = (load_diffusion("sd21-random") for _ in range(2))
    assert one.digest == two.digest
    for a, b in zip(one.attention(image()).keys, two.attention(image()).keys, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", [n for n, e in catalog.of_kind(DiffusionEntry).items() if e.shape])
def test_the_catalogue_s_layers_are_in_the_true_architecture(name):
    entry = MODELS[name]
    shape = SHAPES[entry.shape]
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**shape.unet), AutoencoderKL(**shape.vae)
    modules = dict(unet.named_modules())
    assert {modules[layer].heads for layer in entry.layers} == {5 if "21" in name else 8}
    assert {modules[layer].to_q.in_features for layer in entry.layers} == {320}
    assert sum(p.numel() for p in unet.parameters()) == (
        865_910_724 if entry.shape == "sd21" else 859_520_964
    )
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert entry.side == 8 * unet.config.sample_size


def test_unknown_names_precisions_and_devices_are_told():
    with pytest.raises(ModelError, match="no diffusion model 'sd3': choose one of demo-diffusion"):
        load_diffusion("sd3")
    with pytest.raises(JobError, match="precision must be one of float32"):
        load_diffusion("sd21-random", precision="int8")
    with pytest.raises(ModelError, match="no device 'abacus' here"):
        load_diffusion("sd21-random", device="abacus")


def test_a_model_that_is_not_installed_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    assert not catalog.installed("sd15")
    with pytest.raises(ModelError, match="run 'prelabel models fetch sd15'"):
        load_diffusion("sd15")
    entry = replace(MODELS["sd15"], layers=LAYERS, side=32)
    monkeypatch.setitem(MODELS, "sd15", entry)
    write_pipeline(tmp_path / "sd15", "1.x", variant="fp16")
    assert catalog.installed("sd15")
    assert load_diffusion("sd15").attention(image()).grids[0] == (16, 16)


def test_without_the_sample_data_the_demo_is_not_installed(monkeypatch):
    def gone(*_args):
        raise FileFormatError("x", "gone")

    monkeypatch.setattr(catalog, "folder_of", gone)
    assert not catalog.installed("demo-diffusion")
    assert catalog.installed("sd21-random")


def test_the_published_choice_is_cliper_s():
    entry = MODELS["sd21-base"]
    assert entry.layers == CLIPER
    assert (entry.side, entry.timestep) == (512, 101)
