"""The CLIP models at hand, which compare words and match captions with segments. Loads no torch."""

from dataclasses import dataclass

from ...models import catalog
from .models_box import HIDDEN

DEMO = "demo"
DEMO_TITLE = "Demo CLIP"
DEMO_NOTE = "The demo CLIP knows the words of drawn scenes only."


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """bundle : names it in a task. note : what a person must know of it, "" for nothing."""

    bundle: str
    title: str
    note: str = ""


def clips() -> list[ClipChoice]:
    """A choice for each model that is on this machine; the demo, which knows few words, is last."""
    found: dict[str, ClipChoice] = {}
    for name, bundle in catalog.BUNDLES.items():
        if not name.endswith(HIDDEN) and catalog.installed(bundle.clip):
            demo = name == DEMO
            title = DEMO_TITLE if demo else bundle.title
            found.setdefault(bundle.clip, ClipChoice(name, title, DEMO_NOTE if demo else ""))
    return sorted(found.values(), key=lambda clip: clip.bundle == DEMO)
