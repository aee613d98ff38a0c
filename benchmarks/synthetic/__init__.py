"""Procedural scenes with exact truth, for the demo models, the samples and the benchmarks."""

from .classes import CLASS_IDS, CLASSES, DISTRACTORS, STUFF, THINGS, SceneClass
from .scenes import Region, Scene, held_out, scene, split_seeds

__all__ = [
    "CLASSES",
    "CLASS_IDS",
    "DISTRACTORS",
    "STUFF",
    "THINGS",
    "Region",
    "Scene",
    "SceneClass",
    "held_out",
    "scene",
    "split_seeds",
]
