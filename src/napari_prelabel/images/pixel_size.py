"""The size of a pixel as a file says it: OME, ImageJ, GeoTIFF, resolution of TIFF and PNG."""

from typing import Any

import tifffile

Size = tuple[tuple[float, float] | None, str]

# Words for lengths, as TIFF's writers have them, and ours.
_UNITS = {
    "micron": "um", "microns": "um", "micrometer": "um", "micrometre": "um", "\u00b5m": "um",
    "\u03bcm": "um", "\\u00B5m": "um", "um": "um", "nanometer": "nm", "nm": "nm",
    "millimeter": "mm", "mm": "mm", "centimeter": "cm", "cm": "cm", "meter": "m", "m": "m",
}  # fmt: skip
_MICROMETRES = {"inch": 25_400.0, "in": 25_400.0, "\u00c5": 1e-4, "pm": 1e-6, "km": 1e9}
_NONE = ("pixel", "pixels", "reference frame", "")
# Dots per inch that cameras, editors and scanners of paper write: a size of print, not of things.
_PRINT = (
    1, 70, 71, 72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 266, 300, 350, 360, 400, 600,
    720, 800, 1200,
)  # fmt: skip
# Tags of GeoTIFF, its maps in degrees, and its feet.
_PIXEL_SCALE, _MATRIX, _GEOGRAPHIC = 33550, 34264, 2
_FEET = {9002: 0.3048, 9003: 1200 / 3937}


def pixel_size(file: tifffile.TiffFile) -> Size:
    """((Y, X) in a unit of length, unit); (None, "pixel") where the file does not say."""
    if file.is_ome:
        found = _of_ome(file)
        if found[0] is not None:
            return found
    page = file.pages[0]
    found = _of_map(page)
    if found[0] is not None:
        return found
    try:
        x, y = (float(v) for v in page.resolution)
    except (TypeError, ValueError, ZeroDivisionError):
        return None, "pixel"
    if not (0 < x < float("inf") and 0 < y < float("inf")):
        return None, "pixel"
    told = (file.imagej_metadata or {}).get("unit")
    if told is not None and str(told) not in _NONE:
        return _in_unit(1 / y, 1 / x, str(told))
    inches = {tifffile.RESUNIT.CENTIMETER: 2.54, tifffile.RESUNIT.INCH: 1.0}.get(
        page.resolutionunit
    )
    return (None, "pixel") if inches is None or x == y == 1 else of_dots(x * inches, y * inches)


def of_dots(x: float, y: float) -> Size:
    """Of dots per inch, which are a size of print in many files; then none is known."""
    if not (x > 0 and y > 0) or _of_print(x) or _of_print(y):
        return None, "pixel"
    return (25_400 / y, 25_400 / x), "um"


def _of_map(page: Any) -> Size:
    """Of a GeoTIFF: in degrees where its map has them, else in metres."""
    if (told := page.tags.get(_PIXEL_SCALE)) is not None:
        sides = list(told.value)[:2]
    elif (told := page.tags.get(_MATRIX)) is not None and len(told.value) == 16:
        matrix = list(told.value)
        sides = [matrix[0], abs(matrix[5])] if matrix[1] == matrix[4] == 0 else []
    else:
        return None, "pixel"
    if len(sides) != 2 or not all(0 < side < float("inf") for side in sides):
        return None, "pixel"
    keys = page.geotiff_tags or {}
    if keys.get("GTModelTypeGeoKey") == _GEOGRAPHIC:
        return (sides[1], sides[0]), "degree"
    metres = _FEET.get(keys.get("ProjLinearUnitsGeoKey", 0), 1.0)
    return (sides[1] * metres, sides[0] * metres), "m"


def _of_print(dots: float) -> bool:
    return any(abs(dots - known) < 0.002 * known for known in _PRINT)


def _of_ome(file: tifffile.TiffFile) -> Size:
    """Of the first image of an OME file; the unit is micrometres where none is given."""
    try:
        told: Any = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (told[0] if isinstance(told, list) else told)["Pixels"]
        y, x = float(pixels["PhysicalSizeY"]), float(pixels["PhysicalSizeX"])
    except (KeyError, TypeError, ValueError, SyntaxError, IndexError):
        return None, "pixel"
    unit, other = (str(pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in "XY")
    if unit != other or not (0 < x < float("inf") and 0 < y < float("inf")):
        return None, "pixel"
    return _in_unit(y, x, unit)


def _in_unit(y: float, x: float, unit: str) -> Size:
    if unit in _NONE:
        return None, "pixel"
    if unit in _MICROMETRES:
        factor = _MICROMETRES[unit]
        return (y * factor, x * factor), "um"
    return (y, x), _UNITS.get(unit, unit)
