"""The tables of models and bundles."""

import subprocess
import sys

import numpy as np
import open_clip
import pytest

from benchmarks.synthetic.classes import CLASSES
from napari_prelabel.engine.encode import REME_TEMPLATES
from napari_prelabel.methods.pairs import SIMILARITY
from napari_prelabel.models import catalog, entries, places
from napari_prelabel.models.catalog import BUNDLES, MODELS
from napari_prelabel.models.clip import load_clip
from napari_prelabel.models.entries import ClipEntry, DiffusionEntry, ModelEntry
from napari_prelabel.values.errors import FileFormatError, ModelError
from napari_prelabel.values.job import BASES, Windows
from napari_prelabel.values.methods import METHODS


def test_importing_the_tables_loads_no_torch():
    code = "import sys, napari_prelabel.models.catalog; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


CLIPS = catalog.of_kind(ClipEntry)


@pytest.mark.parametrize("name", CLIPS)
def test_a_row_is_what_open_clip_knows_of_it(name):
    entry = MODELS[name]
    if not entry.arch:
        assert entry.source == "sample"
        return
    config = open_clip.get_model_config(entry.arch)
    patch = config["vision_cfg"].get("patch_size")
    assert entry.resnet == (patch is None)
    assert entry.patch == (patch or 32)
    assert config.get("quick_gelu", False) == entry.arch.endswith("quickgelu")


@pytest.mark.parametrize("name", [n for n, e in CLIPS.items() if e.fetchable])
def test_a_source_is_one_that_open_clip_names_with_its_normalisation(name):
    entry = MODELS[name]
    arch = entry.arch.removesuffix("-quickgelu")
    known = [
        open_clip.get_pretrained_cfg(arch, tag)
        for tag in open_clip.list_pretrained_tags_by_model(arch)
    ]
    (row,) = [cfg for cfg in known if cfg.get("hf_hub", "").rstrip("/") == entry.source]
    assert (entry.mean, entry.std) == (tuple(row["mean"]), tuple(row["std"]))
    assert row.get("quick_gelu", False) == entry.arch.endswith("quickgelu")
    assert entry.size > 1e8
    assert entry.licence


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_fits_its_model(name):
    bundle = BUNDLES[name]
    entry = MODELS[bundle.clip]
    side = bundle.windows.crop or bundle.windows.short_side
    assert side // entry.patch >= 12
    assert bundle.windows.crop == 0 or bundle.windows.stride <= bundle.windows.crop
    assert ("nerve" in bundle.methods) == bool(bundle.diffusion)
    assert bundle.diffusion in ("", *catalog.of_kind(DiffusionEntry))
    assert set(bundle.methods) <= set(METHODS)
    assert set(bundle.bases) <= set(BASES)
    assert bundle.method in bundle.methods
    assert bundle.base in bundle.bases
    if entry.resnet:
        assert "freecp" not in bundle.methods
        assert "gem" not in bundle.bases


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="openai-vitb16"):
        catalog.row_of(ClipEntry, "x")
    with pytest.raises(ModelError, match=r"no model 'x': choose one of demo-clip, .*blip2-opt"):
        catalog.row_of(ModelEntry, "x")
    with pytest.raises(ModelError, match="demo, vitb16"):
        catalog.bundle_of("x")


def test_folders_and_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    repo = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    assert catalog.model_dir("openai-vitb16") == repo
    assert not catalog.installed("openai-vitb16")
    assert catalog.installed("vitb16-random")
    (tmp_path / "openai-vitb16").mkdir()
    (tmp_path / "openai-vitb16" / entries.CLIP_WEIGHTS).touch()
    assert catalog.installed("openai-vitb16")
    assert catalog.model_dir("openai-vitb16") == tmp_path / "openai-vitb16"
    monkeypatch.delenv(places.HOME_VARIABLE)
    assert catalog.model_dir("openai-vitb16") == places.hub_cache() / repo.name


def test_a_package_without_the_demo_model_says_so(monkeypatch):
    def missing(*parts):
        raise FileFormatError("x", "/".join(parts))

    monkeypatch.setattr(places, "sample_path", missing)
    assert not catalog.installed("demo-clip")
    with pytest.raises(FileFormatError, match="models/demo-clip"):
        catalog.model_dir("demo-clip")


def test_known_words_are_read_from_the_models_list(monkeypatch, tmp_path):
    (tmp_path / "words.txt").write_text("# the demo's words\ntree\n\n sea \n", encoding="utf-8")
    monkeypatch.setattr(places, "sample_path", lambda *_: tmp_path)
    assert catalog.known_words("demo-clip") == ("tree", "sea")
    assert catalog.known_words("openai-vitb16") is None
    (tmp_path / "words.txt").unlink()
    with pytest.raises(ModelError, match="install the package again"):
        catalog.known_words("demo-clip")


def test_windows_of_a_clip_are_its_bundles():
    assert catalog.windows_of("demo-clip") == BUNDLES["demo"].windows
    assert catalog.windows_of("of no bundle") == Windows()


def test_synonyms_of_the_demo_clip_are_told_apart_from_other_words():
    words = [(word, c.name) for c in CLASSES for word in (c.name, *c.synonyms)]
    rows = load_clip("demo-clip").encode_classes([word for word, _ in words], REME_TEMPLATES)
    of = np.array([name for _, name in words])
    cosines, same = (rows @ rows.T).numpy(), of[:, None] == of[None]
    least = catalog.synonym_cosine("demo-clip")
    assert cosines[same].min() > least > cosines[~same].max()
    assert catalog.synonym_cosine("openai-vitl14") == SIMILARITY
    assert catalog.synonym_cosine("of no table") == SIMILARITY
