"""An encoder as a value, and the text form that files and the command line have of it."""

import pickle

import pytest

from napari_prelabel.models.catalog import encoder_installed, recommended
from napari_prelabel.values.encoder import TEXTURE, Encoder
from napari_prelabel.values.job import ReME

FORMS = {
    "texture": TEXTURE,
    "dinov2b": Encoder("patches", "dinov2b"),
    "dinov2b@windows": Encoder("patches", "dinov2b", windows=True),
    "clip:openai-vitb16": Encoder("clip", "openai-vitb16"),
    "clip-crops:demo-clip": Encoder("crops", "demo-clip"),
}


@pytest.mark.parametrize(("text", "encoder"), FORMS.items())
def test_the_text_form_says_all_of_an_encoder(text, encoder):
    assert Encoder.parse(text) == encoder
    assert str(encoder) == text
    assert pickle.loads(pickle.dumps(encoder)) == encoder


def test_whether_its_model_is_here_is_asked_of_any_encoder():
    assert encoder_installed(TEXTURE)
    assert encoder_installed(Encoder("crops", "demo-clip"))
    assert not encoder_installed(Encoder("patches", "dinov2b"))
    assert not encoder_installed(Encoder("patches", "unheard"))


def test_only_texture_has_settings_of_its_own():
    assert recommended(TEXTURE) == ReME(temperature=0.1, top_k=100)
    assert recommended(Encoder("patches", "dinov2b")) == ReME()
