"""Pictures of every kind with the RGB and the empty pixels that they must have.

`KINDS` maps a name to a function that writes the file into a folder and returns (path, right),
where right is a `Right`. Values come from what was written, by rules that stand here.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

DATA = Path(__file__).parent / "data"
H, W = 40, 52
RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (H, W, 3), np.uint8)
GREY = RGB[..., 0]
DEEP = (RNG.integers(0, 4096, (H, W, 3))).astype(np.uint16)
FLOAT = RNG.normal(size=(H, W)).astype(np.float32)
KINDS: dict[str, Callable[[Path], tuple[Path, "Right"]]] = {}


@dataclass(frozen=True)
class Right:
    """planes : (H, W, 3) uint8 each; empty : where nothing may be labelled; atol : of levels."""

    planes: tuple[Any, ...]
    empty: tuple[Any, ...] = ()
    atol: int = 0
    scale: tuple[float, float] | None = None
    told: str = ""
    unseen: bool = False  # napari's own reader shows another picture, or none


def kind(function):
    KINDS[function.__name__] = function
    return function


def grey(levels):
    return np.dstack([levels] * 3)


def stretched(values, seen=None):
    """The rule of docs/formats.md: the darkest and brightest 0.5% of what is seen saturate."""
    seen = np.isfinite(values) if seen is None else seen
    low, high = np.percentile(values[seen].astype(float), (0.5, 99.5))
    known = np.where(seen, values, low).astype(float)
    levels = np.clip((known - low) * (255 / (high - low)), 0, 255)
    return np.rint(levels).astype(np.uint8)


def over_white(levels, opacity):
    mixed = levels * opacity[..., None] + 255 * (1 - opacity[..., None])
    return np.rint(mixed).astype(np.uint8)


def tiff(folder, data, right, name="a.tif", **how):
    tifffile.imwrite(folder / name, data, **how)
    return folder / name, right


def png(path, colour_type, depth, rows, *chunks):
    """A PNG from raw rows (bytes), with other chunks before the pixels."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", W, H, depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", head), *(chunk(*c) for c in chunks), chunk(b"IDAT", body)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    return path


# Compressions


def _compressed(name, **how):
    def make(folder):
        return tiff(folder, RGB, Right((RGB,)), photometric="rgb", compression=name, **how)

    KINDS["_".join([name, *how])] = make


for _name in ("lzw", "zlib", "packbits", "zstd", "lzma", "lerc", "png"):
    _compressed(_name)
_compressed("lzw", predictor=True)
_compressed("zlib", predictor=True, tile=(16, 16))
_compressed("jpeg2000", compressionargs={"reversible": True, "level": 0})
_compressed("webp", compressionargs={"lossless": True, "level": 100})


@kind
def jpeg_in_tiff(folder):
    smooth = np.add.outer(np.arange(H), np.arange(W)).astype(np.uint8)[..., None] + np.uint8(
        [0, 60, 120]
    )
    return tiff(
        folder, smooth, Right((smooth,), atol=4), photometric="rgb", compression="jpeg",
        compressionargs={"level": 98},
    )  # fmt: skip


def _fax(name):
    def make(folder):
        Image.fromarray(GREY > 127).save(folder / "a.tif", compression=name)
        levels = np.where(GREY > 127, 255, 0).astype(np.uint8)
        return folder / "a.tif", Right((grey(levels),))

    KINDS[name] = make


for _name in ("group3", "group4", "tiff_ccitt"):
    _fax(_name)


@kind
def float_predictor(folder):
    return tiff(folder, FLOAT, Right((grey(stretched(FLOAT)),)), compression="zlib", predictor=3)


# What samples mean


@kind
def white_is_zero(folder):
    return tiff(folder, GREY, Right((grey(255 - GREY),)), photometric="miniswhite")


@kind
def white_is_zero_16(folder):
    right = grey(255 - stretched(DEEP[..., 0]))
    return tiff(folder, DEEP[..., 0], Right((right,)), photometric="miniswhite")


@kind
def white_is_zero_bits(folder):
    right = grey(np.where(GREY > 127, 0, 255).astype(np.uint8))
    return tiff(folder, GREY > 127, Right((right,)), photometric="miniswhite")


@kind
def four_bits(folder):
    return tiff(folder, GREY >> 4, Right((grey((GREY >> 4) * np.uint8(17)),)), bitspersample=4)


@kind
def palette(folder):
    colours = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    table = (colours.T.astype(np.uint16)) * 257
    return tiff(folder, GREY, Right((colours[GREY],)), photometric="palette", colormap=table)


@kind
def cmyk(folder):
    ink = RNG.integers(0, 256, (H, W, 4), np.uint8)
    right = np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
    return tiff(folder, ink, Right((right,), atol=1), photometric="separated")


@kind
def cmyk_jpeg(folder):
    """Pillow writes Adobe's marker and inverted inks, as Photoshop does."""
    inked = Image.fromarray(np.full((H, W, 3), (200, 120, 30), np.uint8)).convert("CMYK")
    inked.save(folder / "a.jpg", quality=98)
    return folder / "a.jpg", Right((np.asarray(inked.convert("RGB")),), atol=4)


@kind
def ycbcr(folder):
    coded = Image.fromarray(RGB).convert("YCbCr")
    coded.save(folder / "a.tif")
    return folder / "a.tif", Right((np.asarray(coded.convert("RGB")),), atol=2)


@kind
def lab(folder):
    """CIE L*a*b* under D50 of known patches: red, green, blue, white, grey (Lindbloom)."""
    patches = np.array(
        [[138, 81, 70], [224, -79, 81], [75, 68, -112], [255, 0, 0], [137, 0, 0]], np.int16
    )
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [128, 128, 128]]
    data = np.repeat(patches[None].astype(np.uint8), H, 0)
    right = np.repeat(np.array([colours], np.uint8), H, 0)
    return tiff(folder, data, Right((right,), atol=10), photometric="cielab")


@kind
def icclab(folder):
    """The same patches in ICC's form, whose a and b are counted from 128."""
    path, right = lab(folder)
    data = tifffile.imread(path)
    data[..., 1:] ^= 128
    return tiff(folder, data, right, photometric="icclab")


@kind
def near_infrared(folder):
    data = np.dstack([RGB, GREY])
    return tiff(folder, data, Right((RGB,)), photometric="rgb", extrasamples=["unspecified"])


def _with_alpha(dtype, sort):
    def make(folder):
        top = np.iinfo(dtype).max
        alpha = np.full((H, W), top, dtype)
        alpha[:5] = 0
        opacity = alpha / top
        data = RGB.astype(dtype) * (top // 255)
        data[:5] = 0
        levels = (
            RGB if dtype == np.uint8 else stretched(data, np.repeat((alpha > 0)[..., None], 3, 2))
        )
        right = over_white(levels, opacity)
        return tiff(
            folder, np.dstack([data, alpha]), Right((right,), (alpha == 0,), atol=0),
            photometric="rgb", extrasamples=[sort],
        )  # fmt: skip

    KINDS[f"{sort}_{np.dtype(dtype).name}"] = make


for _dtype in (np.uint8, np.uint16):
    for _sort in ("assocalpha", "unassalpha"):
        _with_alpha(_dtype, _sort)


@kind
def half_covered(folder):
    """Associated: a half covered white is stored as 128, and is white over white."""
    data = np.full((H, W, 4), 128, np.uint8)
    return tiff(
        folder, data, Right((np.full((H, W, 3), 255, np.uint8),), atol=1), photometric="rgb",
        extrasamples=["assocalpha"],
    )  # fmt: skip


@kind
def grey_and_alpha(folder):
    alpha = np.where(GREY > 30, 255, 0).astype(np.uint8)
    right = over_white(grey(GREY), alpha / 255)
    return tiff(
        folder, np.dstack([GREY, alpha]), Right((right,), (alpha == 0,)), photometric="minisblack",
        planarconfig="contig", extrasamples=["unassalpha"],
    )  # fmt: skip


@kind
def separate_planes(folder):
    data = np.moveaxis(RGB, -1, 0)
    return tiff(folder, data, Right((RGB,)), photometric="rgb", planarconfig="separate")


@kind
def five_samples(folder):
    data = np.dstack([DEEP, DEEP[..., :2]])
    right = np.dstack([stretched(DEEP[..., i]) for i in range(3)])
    return tiff(
        folder, data, Right((right,), told="5 channels"), photometric="minisblack",
        planarconfig="contig",
    )  # fmt: skip


@kind
def five_samples_separate(folder):
    data = np.moveaxis(np.dstack([DEEP, DEEP[..., :2]]), -1, 0)
    right = np.dstack([stretched(DEEP[..., i]) for i in range(3)])
    return tiff(
        folder, data, Right((right,), told="5 channels"), photometric="minisblack",
        planarconfig="separate", metadata=None,
    )  # fmt: skip


@kind
def two_channels_of_imagej(folder):
    data = np.moveaxis(DEEP[..., :2], -1, 0)
    right = np.dstack([stretched(data[0]), stretched(data[1]), np.zeros((H, W), np.uint8)])
    return tiff(folder, data, Right((right,)), imagej=True, metadata={"axes": "CYX"})


@kind
def channels_of_ome(folder):
    data = np.moveaxis(DEEP, -1, 0)
    right = np.dstack([stretched(DEEP[..., i]) for i in range(3)])
    return tiff(folder, data, Right((right,)), "a.ome.tif", metadata={"axes": "CYX"})


@kind
def time_and_channels(folder):
    data = RNG.integers(0, 999, (3, 2, H, W)).astype(np.uint16)
    planes = [
        np.dstack([stretched(t[0]), stretched(t[1]), np.zeros((H, W), np.uint8)]) for t in data
    ]
    return tiff(folder, data, Right(tuple(planes)), "a.ome.tif", metadata={"axes": "TCYX"})


@kind
def deep_colours(folder):
    return tiff(folder, DEEP, Right((stretched(DEEP),)), photometric="rgb")


@kind
def big_endian_bigtiff(folder):
    right = grey(stretched(DEEP[..., 1]))
    return tiff(folder, DEEP[..., 1], Right((right,)), bigtiff=True, byteorder=">")


# No data


@kind
def nodata_float(folder):
    data = FLOAT.copy()
    data[:, :9] = -9999
    right = stretched(data, data != -9999)
    right[:, :9] = 0
    return tiff(
        folder, data, Right((grey(right),), (data == -9999,)),
        extratags=[(42113, 2, 6, "-9999", True)],
    )  # fmt: skip


def _sentinel(name, value, dtype):
    def make(folder):
        data = FLOAT.astype(dtype)
        data[3:9, 4:20] = value
        gone = np.zeros((H, W), bool)
        gone[3:9, 4:20] = True
        right = stretched(data, ~gone)
        right[gone] = 0
        return tiff(folder, data, Right((grey(right),), (gone,)))

    KINDS[name] = make


_sentinel("float_minimum", -3.4028234663852886e38, np.float32)
_sentinel("rounded_minimum", -3.4e38, np.float32)
_sentinel("double_minimum", -1.7976931348623157e308, np.float64)
_sentinel("not_a_number", np.nan, np.float32)


@kind
def nodata_bytes(folder):
    """In colours a pixel is empty when all of its samples are; black alone in red is not."""
    data = np.maximum(RGB, 1)
    data[:6] = 0
    data[10, 10, 0] = 0
    gone = (data == 0).all(2)
    return tiff(
        folder, data, Right((data,), (gone,)), photometric="rgb",
        extratags=[(42113, 2, 2, "0", True)],
    )  # fmt: skip


@kind
def mask_page(folder):
    mask = GREY > 40
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    return folder / "a.tif", Right((RGB,), (~mask,))


# Pages


@kind
def stack_16(folder):
    data = np.stack([DEEP[..., 0], DEEP[..., 1] // 7])
    right = tuple(grey(stretched(plane)) for plane in data)
    return tiff(folder, data, Right(right), metadata={"axes": "ZYX"})


@kind
def thumbnail_behind(folder):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    return folder / "a.tif", Right((RGB,))


@kind
def thumbnail_first(folder):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        file.write(RGB, photometric="rgb", metadata=None)
    return folder / "a.tif", Right((RGB,), unseen=True)


@kind
def pyramid(folder):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(RGB, photometric="rgb", subifds=1)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    return folder / "a.tif", Right((RGB,))


@kind
def unequal_pages(folder):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        for page in (RGB, RGB[:20, :30], 255 - RGB):
            file.write(page, photometric="rgb", metadata=None)
    return folder / "a.tif", Right((RGB, RGB[:20, :30], 255 - RGB), told="under its number from 0")


@kind
def positions_of_ome(folder):
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as file:
        for turn in range(2):
            file.write(np.stack([DEEP[..., turn], DEEP[..., 2]]), metadata={"axes": "TYX"})
    right = (grey(stretched(DEEP[..., i])) for i in (0, 2, 1, 2))
    return folder / "a.ome.tif", Right(tuple(right), told="several images, 4 planes")


# Pixel sizes


@kind
def size_of_ome(folder):
    size = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm"}  # fmt: skip
    same = size | {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    return tiff(folder, GREY, Right((grey(GREY),), scale=(0.5, 0.25)), "a.ome.tif", metadata=same)


@kind
def size_of_imagej(folder):
    return tiff(
        folder, GREY, Right((grey(GREY),), scale=(0.25, 0.5)), imagej=True, resolution=(2, 4),
        metadata={"unit": "um"},
    )  # fmt: skip


def _resolution(name, value, unit, scale):
    def make(folder):
        return tiff(
            folder, GREY, Right((grey(GREY),), scale=scale), resolution=value, resolutionunit=unit
        )

    KINDS[name] = make


_resolution("centimetres", (2e4, 4e4), "CENTIMETER", (0.25, 0.5))
_resolution("inches", (25400, 12700), "INCH", (2.0, 1.0))
_resolution("screen", (72, 72), "INCH", None)
_resolution("print", (300, 300), "INCH", None)
_resolution("print_in_centimetres", (118.11, 118.11), "CENTIMETER", None)


# PNG and JPEG


@kind
def phone(folder):
    front, back = Image.fromarray(RGB), Image.fromarray(RGB[::2, ::2])
    front.save(folder / "a.jpg", format="MPO", save_all=True, append_images=[back], quality=95)
    with Image.open(folder / "a.jpg") as picture:
        first = np.asarray(picture.convert("RGB"))
    return folder / "a.jpg", Right((first,))


@kind
def png_grey_alpha(folder):
    alpha = np.where(GREY > 30, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([GREY, alpha]), "LA").save(folder / "a.png")
    return folder / "a.png", Right((over_white(grey(GREY), alpha / 255),), (alpha == 0,))


@kind
def png_bits(folder):
    Image.fromarray(GREY > 127).save(folder / "a.png")
    return folder / "a.png", Right((grey(np.where(GREY > 127, 255, 0).astype(np.uint8)),))


@kind
def png_palette(folder):
    picture = Image.fromarray(RGB).quantize(31)
    picture.save(folder / "a.png")
    return folder / "a.png", Right((np.asarray(picture.convert("RGB")),))


@kind
def png_clear_palette(folder):
    picture = Image.fromarray(RGB).quantize(31)
    picture.save(folder / "a.png", transparency=3)
    gone = np.asarray(picture) == 3
    right = np.where(gone[..., None], 255, np.asarray(picture.convert("RGB")))
    return folder / "a.png", Right((right,), (gone,))


@kind
def png_clear_grey(folder):
    Image.fromarray(GREY).save(folder / "a.png", transparency=int(GREY[0, 0]))
    gone = GREY[0, 0] == GREY
    return folder / "a.png", Right((grey(np.where(gone, 255, GREY)),), (gone,))


@kind
def png_clear_colour(folder):
    key = tuple(int(v) for v in RGB[0, 0])
    Image.fromarray(RGB).save(folder / "a.png", transparency=key)
    gone = (RGB[0, 0] == RGB).all(2)
    return folder / "a.png", Right((np.where(gone[..., None], 255, RGB),), (gone,))


@kind
def png_deep(folder):
    path = png(folder / "a.png", 2, 16, [row.astype(">u2").tobytes() for row in DEEP])
    return path, Right((stretched(DEEP),))


@kind
def png_deep_alpha(folder):
    alpha = np.where(GREY > 30, 65535, 0).astype(np.uint16)
    seen = np.repeat((alpha > 0)[..., None], 3, 2)
    data = np.dstack([DEEP, alpha])
    path = png(folder / "a.png", 6, 16, [row.astype(">u2").tobytes() for row in data])
    return path, Right((over_white(stretched(DEEP, seen), alpha / 65535),), (alpha == 0,))


@kind
def png_deep_grey(folder):
    Image.fromarray(DEEP[..., 0]).save(folder / "a.png")
    return folder / "a.png", Right((grey(stretched(DEEP[..., 0])),))


@kind
def png_deep_grey_alpha(folder):
    alpha = np.where(GREY > 30, 65535, 0).astype(np.uint16)
    data = np.dstack([DEEP[..., 0], alpha])
    path = png(folder / "a.png", 4, 16, [row.astype(">u2").tobytes() for row in data])
    levels = grey(stretched(DEEP[..., 0], alpha > 0))
    return path, Right((over_white(levels, alpha / 65535),), (alpha == 0,))


@kind
def png_deep_clear(folder):
    key = b"".join(int(v).to_bytes(2, "big") for v in DEEP[0, 0])
    path = png(
        folder / "a.png", 2, 16, [row.astype(">u2").tobytes() for row in DEEP], (b"tRNS", key)
    )
    gone = (DEEP[0, 0] == DEEP).all(2)
    right = stretched(DEEP, np.repeat(~gone[..., None], 3, 2))
    return path, Right((np.where(gone[..., None], 255, right),), (gone,))


@kind
def ppm_deep(folder):
    (folder / "a.ppm").write_bytes(
        b"P6\n# camera\n%d %d\n4095\n" % (W, H) + DEEP.astype(">u2").tobytes()
    )
    return folder / "a.ppm", Right((stretched(DEEP),))


@kind
def gif(folder):
    frames = [Image.new("L", (W, H), value) for value in (0, 100, 200)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    return folder / "a.gif", Right(tuple(np.full((H, W, 3), v, np.uint8) for v in (0, 100, 200)))
