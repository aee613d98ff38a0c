"""Engine.run against the plain way, cached against fresh, and everything that can go wrong."""

import json
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_steps import finish

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.methods import freecp as F_freecp
from napari_prelabel.models.memory import bytes_of
from napari_prelabel.models.windows import cut, plan_layout
from napari_prelabel.values.errors import Cancelled, ImageError, JobError, OutOfMemory
from napari_prelabel.values.job import BASES, FreeCP, Job, Windows
from napari_prelabel.values.vocabulary import Vocabulary

WINDOWS = Windows(64, 48, 16)
WORDS = "tree: trees, oak\nriver\nboat\nsky\nroad\nhouse"
# Random weights agree on nothing, so the thresholds let most classes through.
LOOSE = FreeCP(rp_threshold=0.02, ap_threshold=0.3)


def job(words=WORDS, **changes):
    settings = {"models": "vitb16-shape", "windows": WINDOWS, "freecp": LOOSE} | changes
    return Job(Vocabulary.parse(words), **settings)


def same(a, b):
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("ids", "score", "runner_up"))


def windows_of(clip, image):
    layout = plan_layout(image.shape[:2], WINDOWS, clip.patch)
    pixels = torch.from_numpy(cut(image, layout)).permute(2, 0, 1).float() / 255
    h, w = layout.window
    return layout, torch.stack([pixels[:, y : y + h, x : x + w] for y, x in layout.origins]), pixels


def blended(maps, layout):
    total = torch.zeros(maps.shape[1], *layout.resized, dtype=torch.float64)
    count = torch.zeros(layout.resized, dtype=torch.float64)
    for window, (y, x) in zip(maps.double(), layout.origins, strict=True):
        up = F.interpolate(window[None], layout.window, mode="bilinear")[0]
        part = total[:, y : y + layout.window[0], x : x + layout.window[1]]
        part += up[:, : part.shape[1], : part.shape[2]]
        count[y : y + layout.window[0], x : x + layout.window[1]] += 1
    return F.interpolate((total / count)[None], layout.size, mode="bilinear")[0]


def assert_decided(result, scores, ids=None):
    """ids are the argmax of scores (C, Y, X) wherever two classes are not all but equal."""
    top = scores.topk(2, 0)
    clear = (top.values[0] - top.values[1]).numpy() > 1e-4
    assert clear.mean() > 0.5
    ids = (top.indices[0] + 1).numpy() if ids is None else ids
    np.testing.assert_array_equal(result.ids[clear], ids[clear])


@pytest.mark.parametrize("base", BASES)
def test_base_equals_the_plain_way(base, make_engine, clip, image):
    result, _ = finish(make_engine().run(job(method="base", base=base), image))
    layout, windows, _ = windows_of(clip, image)
    need = {"gem"} if base == "gem" else set()
    rows = clip.dense(clip.encode_trunk(windows, need=need), base).double()
    text = clip.encode_classes(
        ["tree", "trees", "oak", "river", "boat", "sky", "road", "house"]
    ).double()
    cosines = (rows @ text.T).transpose(1, 2).reshape(len(rows), 8, *layout.grid)
    p = (blended(cosines, layout) * clip.logit_scale).softmax(0)
    scores = torch.cat([p[:3].amax(0, keepdim=True), p[3:]])
    assert_decided(result, scores)
    np.testing.assert_allclose(result.score, scores.amax(0), atol=2e-3)


def test_background_words_and_min_score_leave_pixels_unlabelled(make_engine, image):
    engine = make_engine()
    words = "tree\nriver\n- boat, sky\n"
    free, _ = finish(engine.run(job("tree\nriver\nboat\nsky", method="base"), image))
    held, _ = finish(engine.run(job(words, method="base"), image))
    np.testing.assert_array_equal(held.ids, np.where(free.ids > 2, 0, free.ids))
    assert 0 < (held.ids == 0).mean() < 1
    strict, _ = finish(engine.run(job(words, method="base", min_score=0.5), image))
    doubtful = (held.ids > 0) & (held.score.astype(float) < 0.499)
    assert (strict.ids[doubtful] == 0).all()
    sure = (held.ids > 0) & (held.score.astype(float) > 0.501)
    np.testing.assert_array_equal(strict.ids[sure], held.ids[sure])


@pytest.mark.parametrize("base", ["sclip", "gem"])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("scope", ["window", "image"])
def test_freecp_equals_the_plain_way(base, background, scope, make_engine, clip, image):
    words = "tree: trees\nriver\nboat\nsky" + ("\n- road" if background else "")
    settings = replace(LOOSE, scope=scope)
    vocabulary = Vocabulary.parse(words).with_descriptions({"boat": ["a small ship"]})
    wanted = replace(job(base=base, freecp=settings), vocabulary=vocabulary)
    result, steps = finish(make_engine().run(wanted, image))
    assert any(s.stage == "purify" and s.total > 1 for s in steps), "no crop was asked for"

    layout, windows, pixels = windows_of(clip, image)
    need = {"gem", "head0"} if base == "gem" else {"attention"}
    trunk = clip.encode_trunk(windows, need=need)
    names = ["tree", "trees", "river", "boat", "sky", *(["road"] if background else [])]
    text = clip.encode_classes(names)
    owner = torch.tensor([0, 0, 1, 2, 3, 4][: len(names)])
    logits = clip.logit_scale * (clip.dense(trunk, base) @ text.T).transpose(1, 2)
    p = F_freecp.class_probability(logits.reshape(len(windows), -1, *layout.grid), owner, 4)
    attention = trunk.attention_head0 if base == "gem" else trunk.attention
    refined = F_freecp.refine(p, F_freecp.affinity(attention), 4)
    parameters = FreeCP(rp_threshold=0.02, ap_threshold=0.3, scope=scope)
    plan = F_freecp.find(refined, p[:, :4], parameters)
    crops = []
    for crop in plan.crops:
        y0, x0, y1, x1 = crop.pixels(clip.patch, layout.origins[crop.window])
        crops.append(F.interpolate(pixels[None, :, y0:y1, x0:x1], (112, 112), mode="bilinear"))
    resize = "antialias" if base == "gem" else "scale"
    rows = clip.encode_cls(torch.cat(crops), resize=resize)
    described = torch.stack(
        [
            F.normalize(text[:2].mean(0), dim=0),
            text[2],
            clip.encode_descriptions([("a small ship",)])[0],
            text[4],
        ]
    )
    scores = blended(plan.finish(rows, described), layout)
    if background:
        empty = 1 - scores.amax(0, keepdim=True)
        ids = torch.cat([empty, scores]).argmax(0).numpy()
        close = (scores.amax(0) - 0.5).abs() < 1e-3
        result.ids[close.numpy()] = ids[close.numpy()]
        assert_decided(result, torch.cat([empty, scores]), ids)
    else:
        held = scores.amax(0) > 0
        assert_decided(result, torch.where(held, scores, -torch.arange(4.0)[:, None, None]))
    np.testing.assert_allclose(
        result.score[result.ids > 0], scores.amax(0).numpy()[result.ids > 0], atol=2e-3
    )


def test_pixels_that_no_class_holds(make_engine, image):
    nothing = FreeCP(rp_threshold=1.0)
    engine = make_engine()
    first, _ = finish(engine.run(job(freecp=nothing), image))
    assert (first.ids == 1).all()
    assert (first.score == 0).all()
    assert (first.runner_up == 0).all()
    empty, _ = finish(engine.run(job(WORDS + "\n- wall", freecp=nothing), image))
    assert (empty.ids == 0).all()
    base, _ = finish(engine.run(job(freecp=replace(nothing, empty_pixel="base")), image))
    assert len(np.unique(base.ids)) > 1
    assert (base.score > 0).all()


@pytest.mark.parametrize("method", ["base", "freecp"])
@pytest.mark.parametrize("base", ["sclip", "gem"])
def test_a_run_that_finds_encodings_equals_a_fresh_one(method, base, make_engine, image, tmp_path):
    before = job(method="base", base="clearclip")
    wanted = job(WORDS.replace("boat", "ship"), method=method, base=base)
    fresh, _ = finish(make_engine().run(wanted, image))
    again = make_engine(Encodings(folder=tmp_path), Encodings(folder=tmp_path))
    for other in (before, replace(wanted, vocabulary=before.vocabulary)):
        finish(again.run(other, image))
    assert same(finish(again.run(wanted, image))[0], fresh)
    from_disk = make_engine(Encodings(folder=tmp_path), Encodings(folder=tmp_path))
    assert same(finish(from_disk.run(wanted, image))[0], fresh)
    forgetful = make_engine(Encodings(memory=60_000))  # a part of the windows stays
    finish(forgetful.run(wanted, image))
    assert same(finish(forgetful.run(wanted, image))[0], fresh)


def test_nothing_is_encoded_twice(make_engine, clip, image, monkeypatch):
    calls = {"encode_trunk": 0, "encode_classes": 0, "dense": 0}

    def count(name, real):
        def counted(*args, **options):
            calls[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(clip, name, counted)

    for name in calls:
        count(name, getattr(clip, name))
    engine = make_engine()
    finish(engine.run(job(method="base"), image))
    first = dict(calls)
    assert first["encode_classes"] == 8
    finish(engine.run(job(WORDS + "\nship", method="base"), image))
    assert calls == first | {"encode_classes": 9}
    finish(engine.run(job(WORDS, method="freecp"), image))
    assert calls == first | {"encode_classes": 9}
    finish(engine.run(job(WORDS, base="clearclip"), image))
    assert calls["encode_trunk"] == first["encode_trunk"]
    assert calls["dense"] == 2 * first["dense"]
    finish(engine.run(job(WORDS, base="gem"), image))
    assert calls["encode_trunk"] == 2 * first["encode_trunk"]


def test_crops_are_kept_by_their_box(make_engine, clip, image, monkeypatch):
    seen = []
    real = clip.encode_cls
    monkeypatch.setattr(clip, "encode_cls", lambda p, **o: seen.append(len(p)) or real(p, **o))
    engine = make_engine()
    finish(engine.run(job(), image))
    assert len(seen) >= 1
    assert len(set(seen)) == 1
    count = len(seen)
    finish(engine.run(job(), image))
    assert len(seen) == count


def test_equal_jobs_give_equal_maps_and_others_do_not(make_engine, image):
    a, b = (finish(make_engine().run(job(), image))[0] for _ in range(2))
    assert same(a, b)
    assert a.record == b.record
    other, _ = finish(make_engine().run(job(base="maskclip"), image))
    assert not same(a, other)


def test_progress_tells_the_stages_in_order(make_engine, image):
    _, steps = finish(make_engine().run(job(), image))
    stages = list(dict.fromkeys(s.stage for s in steps))
    assert stages == ["models", "text", "encode", "purify", "decide"]
    encode = [s for s in steps if s.stage == "encode"]
    assert [s.done for s in encode] == list(range(encode[0].total + 1))
    assert encode[0].seconds_left is None
    assert encode[-1].seconds_left == 0
    assert all(s.done <= s.total for s in steps)


def test_timings_tell_forward_passes_from_the_rest(make_engine, image):
    engine = make_engine()
    finish(engine.run(job(), image))
    stages = {s.name: s for s in engine.timings}
    assert {n for n, s in stages.items() if s.forward} == {"text", "trunk", "dense", "crops"}
    assert {"load", "resize", "cache", "affinity", "score", "purify", "decide"} <= set(stages)
    assert all(s.seconds >= 0 for s in stages.values())
    finish(engine.run(job(), image))
    assert not any(s.forward for s in engine.timings)


@pytest.mark.parametrize("after", [0, 2])
def test_cancel_between_batches(after, make_engine, image, clip, monkeypatch):
    engine = make_engine()
    finish(engine.run(job("a"), image[:8, :8]))
    batches = []
    real = clip.encode_trunk
    monkeypatch.setattr(clip, "encode_trunk", lambda *a, **o: batches.append(1) or real(*a, **o))
    monkeypatch.setitem(
        __import__("napari_prelabel.engine.encode", fromlist=["x"])._TOKENS, "cpu", 37
    )
    with pytest.raises(Cancelled):
        finish(engine.run(job("a"), image, cancelled=lambda: len(batches) >= after))
    assert len(batches) == after


def test_cancel_before_a_word(make_engine, image):
    with pytest.raises(Cancelled):
        finish(make_engine().run(job(), image, cancelled=lambda: True))


def test_a_region_is_a_crop_with_an_origin(make_engine, image):
    engine = make_engine()
    part, _ = finish(engine.run(job(region=(10, 20, 80, 110)), image))
    alone, _ = finish(engine.run(job(), image[10:80, 20:110]))
    assert same(part, alone)
    assert part.origin == (10, 20)
    cut_off, _ = finish(engine.run(job(region=(60, 100, 500, 600)), image))
    assert cut_off.ids.shape == (30, 31)


@pytest.mark.parametrize("method", ["base", "freecp"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 2), (9, 8)])
def test_odd_shapes_give_a_whole_map(shape, method, make_engine):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    result, _ = finish(make_engine().run(job(method=method), image))
    assert result.ids.shape == shape
    assert result.ids.min() >= 1


def test_a_read_only_image_is_left_alone(make_engine, image):
    locked = image.copy()
    locked.flags.writeable = False
    for windows in (WINDOWS, Windows(0, 48, 16)):
        finish(make_engine().run(job(windows=windows), locked))
    np.testing.assert_array_equal(locked, image)


@pytest.mark.parametrize(
    ("array", "changes", "error", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), {}, ImageError, "to_rgb"),
        (np.zeros((4, 4, 3)), {}, ImageError, "to_rgb"),
        (np.zeros((0, 4, 3), np.uint8), {}, ImageError, "empty"),
        (np.zeros((4, 4, 3), np.uint8), {"region": (4, 0, 9, 9)}, ImageError, "outside"),
        (np.zeros((4, 4, 3), np.uint8), {"models": "rn50x16"}, JobError, "cannot do freecp"),
        (
            np.zeros((4, 4, 3), np.uint8),
            {"models": "rn50x16", "method": "base", "base": "gem"},
            JobError,
            "cannot do gem",
        ),
    ],
)
def test_what_cannot_be_run_is_one_sentence(array, changes, error, sentence, make_engine):
    with pytest.raises(error, match=sentence):
        finish(make_engine().run(job(**changes), array))


def starve(monkeypatch, clip, most, error=None):
    error = error or RuntimeError("[enforce fail] not enough memory: x")
    real = clip.encode_trunk

    def starved(pixels, **options):
        if len(pixels) > most:
            raise error
        return real(pixels, **options)

    monkeypatch.setattr(clip, "encode_trunk", starved)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
    ],
)
def test_short_memory_makes_smaller_batches_and_says_so(
    error, make_engine, clip, image, monkeypatch
):
    plain, _ = finish(make_engine().run(job(), image))
    starve(monkeypatch, clip, 3, error)
    result, _ = finish(make_engine().run(job(), image))
    assert any("Memory on cpu was short" in n for n in result.notices)
    assert (result.ids == plain.ids).mean() > 0.99
    assert result.record["device"] == "cpu"


def test_no_memory_at_all_is_one_sentence(make_engine, clip, image, monkeypatch):
    starve(monkeypatch, clip, 0)
    with pytest.raises(OutOfMemory, match="one window at a time"):
        finish(make_engine().run(job(), image))


def test_no_memory_elsewhere_is_one_sentence_and_other_errors_are_not_hidden(
    make_engine, clip, image, monkeypatch
):
    def fail(*_):
        raise RuntimeError(sentence)

    monkeypatch.setattr(clip, "dense", fail)
    sentence = "not enough memory: you tried to allocate 9 bytes"
    with pytest.raises(OutOfMemory, match="smaller region"):
        finish(make_engine().run(job(), image))
    sentence = "a shape does not fit"
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        finish(make_engine().run(job(), image))
    sentence = "CUDA error"
    starve(monkeypatch, clip, 0, RuntimeError("a shape does not fit"))
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        finish(make_engine().run(job(), image))


def test_the_record_is_plain_json(make_engine, image):
    wanted = job(region=(0, 0, 50, 60))
    result, _ = finish(make_engine().run(wanted, image))
    facts = json.loads(json.dumps(result.record))
    assert facts["job_digest"] == wanted.digest
    assert facts["region"] == [0, 0, 50, 60]
    assert facts["versions"]["torch"] == version("torch")
    assert facts["windows"] == 2 * 3


def test_models_are_loaded_once_and_few_are_kept(clip, image):
    loaded = []
    engine = Engine("cpu", Encodings(), Encodings(), load=lambda *key: loaded.append(key) or clip)
    for models in ("vitb16", "vitb16", "vitl14", "vitb16", "vitb16-laion", "vitb16"):
        finish(engine.run(job(models=models), image))
    assert [name for name, _, _ in loaded] == ["openai-vitb16", "openai-vitl14", "laion-vitb16"]


def test_words_outlive_the_process_in_the_users_cache(clip, image, monkeypatch, tmp_path):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)
    finish(Engine("cpu", load=lambda *_: clip).run(job(), image))
    assert len(list((tmp_path / "words").iterdir())) == 8
    monkeypatch.setattr(clip, "encode_classes", lambda _: pytest.fail("known already"))
    finish(Engine("cpu", load=lambda *_: clip).run(job(), image))


def test_models_that_a_run_does_not_use_leave_when_memory_is_short(
    make_engine, clip, image, monkeypatch
):
    plain, _ = finish(make_engine().run(job(), image))
    engine, real, alone = make_engine(), clip.encode_trunk, bytes_of(clip)
    engine.shelf.take("other", "other", lambda: torch.zeros(100))

    def crowded(pixels, **options):
        if engine.shelf.bytes > alone:
            torch.empty(1 << 50)
        return real(pixels, **options)

    monkeypatch.setattr(clip, "encode_trunk", crowded)
    result, _ = finish(engine.run(job(), image))
    assert engine.shelf.bytes == alone
    assert same(result, plain)
