"""Which values of an image layer become black and white: automatic, or limits that were chosen.

napari gives every layer contrast limits, its data's range to begin with; only others were chosen.
"""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image
from napari.utils._dtype import get_dtype_limits

Limits = tuple[tuple[float, float], ...]

# Limits that a job file brought and the layer cannot hold, with the layer's own at that time.
_given: WeakKeyDictionary[Image, tuple[Limits, tuple[float, float]]] = WeakKeyDictionary()
# Ranges that were worked out, with what they are ranges of.
_ranges: WeakKeyDictionary[Image, tuple[int, tuple[float, float]]] = WeakKeyDictionary()
# Layers of lazy arrays whose limits changed; napari sets them by the first plane it shows.
_moved: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()


def limits_of(layer: Image) -> Limits:
    """One pair (low, high) for all channels or one for each; () where nobody chose any."""
    now = _now(layer)
    given = _given.get(layer)
    if given is not None and given[1] == now:
        return given[0]
    if layer.rgb or layer.auto_contrast or layer.dtype == np.bool_:
        return ()
    if isinstance(_whole(layer), np.ndarray):
        return () if now == _range(layer) else (now,)
    return (now,) if _moved.get(layer) else ()


def give(layer: Image, limits: Limits) -> None:
    """Choose limits, by the layer's own where it can hold them; () is automatic."""
    _given.pop(layer, None)
    if not limits:
        _moved.pop(layer, None)
        if not layer.rgb and isinstance(_whole(layer), np.ndarray):
            layer.contrast_limits = _range(layer)
        return
    if len(limits) == 1 and not layer.rgb:
        layer.contrast_limits = limits[0]
        _moved[layer] = True
        if limits_of(layer) == limits:
            return
    _given[layer] = (limits, _now(layer))


def watch(layer: Image) -> None:
    """Notice when somebody moves the limits of a lazy array, whose range is not worked out."""
    if isinstance(_whole(layer), np.ndarray) or layer.rgb:
        return

    def moved(event: Any) -> None:
        if not getattr(event.source, "_should_calc_clims", False):
            _moved[event.source] = True

    layer.events.contrast_limits.connect(moved)


def told(limits: Limits) -> str:
    """Which values become black and white, for a person to read."""
    if not limits:
        return "Automatic: the darkest and brightest 0.5% saturate"
    spans = " · ".join(f"{low:,.6g} to {high:,.6g}" for low, high in limits)
    return f"From {spans}, as its contrast limits"


def worth_telling(layer: Image, limits: Limits) -> bool:
    """Whether anything is to be said: bytes and bits are shown as they are."""
    return bool(limits) or layer.dtype not in (np.uint8, np.bool_)


def _now(layer: Image) -> tuple[float, float]:
    low, high = layer.contrast_limits
    return float(low), float(high)


def _whole(layer: Image) -> Any:
    return layer.data[-1] if layer.multiscale else layer.data


def _range(layer: Image) -> tuple[float, float]:
    """What napari gave the layer to begin with; worked out once for each array."""
    whole = _whole(layer)
    known = _ranges.get(layer)
    if known is not None and known[0] == id(whole):
        return known[1]
    if layer.multiscale and np.issubdtype(layer.dtype, np.integer):
        low, high = get_dtype_limits(layer.dtype)
    else:
        low, high = layer._calc_data_range()
    found = float(low), float(high)
    _ranges[layer] = id(whole), found
    return found
