"""Noun phrases of hand-written captions: alt texts, lists, and long descriptions."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.synthetic.captions import joined, phrase
from benchmarks.synthetic.classes import CLASS_IDS
from napari_prelabel.reference import phrases
from napari_prelabel.reference.phrases import Phrase, by_rules, by_spacy, extractor, singular
from napari_prelabel.values.errors import JobError, MissingExtra

CAPTIONS = """
a red barn, two trees and the lake | red barn, tree, lake
A large brown dog is sitting on the green grass next to a wooden fence. | large brown dog, green grass, wooden fence
a cropped photo of a pickup by a green oak beside lagoon with waves | cropped photo, pickup, green oak, lagoon, wave
a woolly cloud with four thin legs | woolly cloud, thin leg
a view of bricks near a lorry and furrows | view, brick, lorry, furrow
sky, heaven and a brolly | sky, heaven, brolly
an orange kite next to a red umbrella | orange kite, red umbrella
a drawing of a purple tower with a blue sedan | drawing, purple tower, blue sedan
a picture of a drawing | picture, drawing
a black and white cat on the man's lap | black and white cat, man, lap
a black-and-white cat and a two-story house in front of the t-shirt. | black-and-white cat, two-story house, t-shirt
several old wooden boats and many birds flying over the sea | old wooden boat, bird, sea
its windows are broken; a man riding waves | window, man, wave
walruses, a walrus and the bus near buses | walrus, bus
three people are standing on the left side of the image | person
a sitting dog watches parked cars | sitting dog, car
snow-covered mountains rise above the pine trees | snow-covered mountain, pine tree
a sports car and a lot of people | sports car, person
The sky is clear and blue, with a few white clouds scattered throughout. | sky, white cloud
She holds her umbrella in one hand and a pair of scissors in the other. | umbrella, hand, scissors
there is a house with a pointed triangular roof on a square wall | house, pointed triangular roof, square wall
a close-up of a trout with sand by a purple ball | close-up, trout, sand, purple ball
grass and a gull, meadow, pond | grass, gull, meadow, pond
a white sheep beside water near a grey stone building | white sheep, water, grey stone building
an image of snowdrift next to a fir and woodland | image, snowdrift, fir, woodland
gull next to a brown stable | gull, brown stable
a photo of home and shed by palisade | photo, home, shed, palisade
minibus, kite with shrub and fence near rock by snow | minibus, kite, shrub, fence, rock, snow
Traffic lights can be seen at the intersection, and pedestrians are crossing the street. | traffic light, intersection, pedestrian, street
There are at least two bicycles leaning against the brick wall. | bicycle, brick wall
The children's toys are scattered across the wooden floor. | child, toy, wooden floor
leaves and branches frame the stone bridge | leaf, branch, stone bridge
a plate topped with sliced tomatoes, green beans, and mashed potatoes | plate, sliced tomato, green bean, mashed potato
The overall atmosphere is calm and peaceful. | atmosphere
a rolled-up newspaper lies on top of the old mailbox | rolled-up newspaper, old mailbox
some very tall buildings and a brightly lit tower | tall building, tower
a herd of cows grazing in a lush field | herd, cow, lush field
a row of parked motorcycles | row, parked motorcycle
A man and a woman are walking their two dogs. | man, woman, dog
Car | car
ICE | ice
a cattle with a diamond near building | cattle, diamond, building
"""  # noqa: E501

ODD = {
    "": "",
    "two": "",
    '"it" (5) [7]!': "",
    "it was there, and they like them": "",
    "the ﬁeld\u00a0and  the\u00a0\tlake": "field, lake",
}

LONG = {
    "The image features a man riding a surfboard on a wave in the ocean, wearing a black wetsuit. "
    "In the background, there are several cars parked along the street, and a tall building with "
    "large windows stands behind them.": "image, man, surfboard, wave, ocean, black wetsuit, "
    "background, car, street, tall building, large window",
    "The scene is set in a cozy living room with a comfortable couch, a coffee table, and a "
    "flat-screen TV mounted on the wall. The person on the left is wearing a red shirt, while the "
    "other person is wearing blue jeans.": "scene, cozy living room, comfortable couch, coffee "
    "table, flat-screen tv, wall, person, red shirt, blue jeans",
}
SHORT = [tuple(line.split(" | ")) for line in CAPTIONS.splitlines() if " | " in line]


def texts(found):
    return ", ".join(p.text for p in found)


@pytest.mark.parametrize(("caption", "expected"), [*SHORT, *LONG.items(), *ODD.items()])
def test_phrases_of_captions(caption, expected):
    found = by_rules(caption)
    assert texts(found) == expected.strip()
    assert all(p.text.split()[-1] == p.root for p in found)


def test_there_are_enough_captions():
    assert len(SHORT) + len(LONG) >= 44


def test_most_words_of_the_drawn_world_are_found():
    rng = np.random.default_rng(0)
    said, missed = 0, 0
    for _ in range(60):
        names = rng.choice(list(CLASS_IDS), 4, replace=False)
        told = [phrase(rng, name, str(rng.choice(["red", "grey"]))) for name in names]
        roots = {p.root for p in by_rules(joined(rng, told))}
        wanted = {singular(words.split()[-1]) for words in told}
        said += len(wanted)
        missed += len(wanted - roots)
    assert missed <= 0.05 * said


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("buses", "bus"), ("houses", "house"), ("walruses", "walrus"), ("leaves", "leaf"),
        ("clothes", "clothes"), ("benches", "bench"), ("t-shirts", "t-shirt"), ("men", "man"),
        ("glass", "glass"), ("cactus", "cactus"), ("sheep", "sheep"), ("cherries", "cherry"),
    ],
)  # fmt: skip
def test_singular(plural, one):
    assert singular(plural) == one


def token(i, text, pos, dep="", lemma=""):
    return SimpleNamespace(i=i, text=text, pos_=pos, dep_=dep, lemma_=lemma or text)


class Chunk(list):
    @property
    def root(self):
        return self[-1]


def test_phrases_by_a_parser():
    seen = []

    def model(text):
        seen.append(text)
        dog = [
            token(0, "his", "PRON", "poss"), token(1, "two", "NUM"), token(2, "several", "ADJ"),
            token(3, "big", "ADJ"), token(4, "-", "PUNCT"), token(5, "brown", "ADJ"),
            token(6, "dogs", "NOUN", lemma="dog"),
        ]  # fmt: skip
        return SimpleNamespace(
            noun_chunks=[
                Chunk(dog),
                Chunk([token(7, "it", "PRON")]),
                Chunk(dog),
                Chunk([token(8, "5", "PROPN")]),
                Chunk([token(9, "grass", "NOUN")]),
            ]
        )

    found = by_spacy(model, "His  two DOGS")
    assert seen == ["his two dogs"]
    assert found == (Phrase("big brown dog", "dog"), Phrase("grass", "grass"))


def test_the_finder_is_chosen_by_name(monkeypatch):
    monkeypatch.setattr(phrases, "has_spacy", lambda: False)
    assert extractor("rules") is by_rules
    assert extractor() is by_rules
    with pytest.raises(MissingExtra, match="python -m spacy download en_core_web_sm"):
        extractor("spacy")
    with pytest.raises(JobError, match="auto, spacy or rules"):
        extractor("nltk")


def test_spacy_is_taken_where_it_is_installed(monkeypatch):
    import sys

    asked = []

    def load(name, exclude):
        asked.append((name, exclude))
        return lambda text: SimpleNamespace(noun_chunks=[Chunk([token(0, text, "NOUN")])])

    monkeypatch.setattr(phrases, "has_spacy", lambda: True)
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    assert extractor()("Barn") == (Phrase("barn", "barn"),)
    assert extractor("spacy")("Barn") == (Phrase("barn", "barn"),)
    assert extractor("rules")("Barn") == (Phrase("barn", "barn"),)
    assert asked == [("en_core_web_sm", ["ner"])] * 2


def test_has_spacy_needs_the_model_as_well(monkeypatch):
    there = {"spacy"}
    monkeypatch.setattr(phrases, "find_spec", lambda name: name if name in there else None)
    assert not phrases.has_spacy()
    there.add("en_core_web_sm")
    assert phrases.has_spacy()
