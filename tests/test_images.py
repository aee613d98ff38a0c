import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from napari_prelabel.images import picture
from napari_prelabel.images.find import Picture, find_images
from napari_prelabel.images.read import read_head, read_image
from napari_prelabel.values.errors import FileFormatError, ImageError


def save(path, shape=(4, 5, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, 9, np.uint8)).save(path)
    return path


def names(pictures):
    return [p.name for p in pictures]


def test_files_folders_and_patterns(tmp_path):
    a = save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "deep" / "b.jpg")
    save(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("x")
    found = find_images([str(a), str(tmp_path / "in")])
    assert names(found) == ["a", "deep/b"]
    assert found[1].source == "deep/b.jpg"
    assert names(find_images([str(tmp_path / "in" / "*.png")])) == ["a"]
    assert names(find_images([str(tmp_path / "**" / "*.jpg")])) == ["b"]


def test_the_output_folder_is_left_out(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "labels" / "a.png")
    assert names(find_images([str(tmp_path)], tmp_path / "labels")) == ["a"]


needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")


@needs_links
def test_links_are_pictures_of_their_own_name(tmp_path):
    """As git-annex and datalad keep files: content without a suffix, links with one."""
    blob = save(tmp_path / ".git" / "annex" / "blob.png").rename(tmp_path / "blob")
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one.png", "two.jpg"):
        (photos / name).symlink_to(blob)
    (photos / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "round.png").symlink_to("round.png")
    found = find_images([str(photos)])
    assert names(found) == ["gone", "one", "round", "two"]
    assert [p.path for p in found] == [photos / f"{p.relative}" for p in found]
    assert names(find_images([str(photos / "one.png"), str(photos / "*.jpg")])) == ["one", "two"]
    assert read_image(found[1].path).planes[0].shape == (4, 5)


@needs_links
def test_a_linked_folder_is_followed_once_and_loops_end(tmp_path):
    save(tmp_path / "photos" / "real" / "a.png")
    save(tmp_path / "away" / "b.png")
    save(tmp_path / "c.png")
    for link, to in {"0": "real", "1": ".", "2": "..", "3": "../away", "4": "../away"}.items():
        (tmp_path / "photos" / link).symlink_to(to, target_is_directory=True)
    (tmp_path / "away" / "back").symlink_to("../photos", target_is_directory=True)
    for pattern in ("photos", "photos/**/*.png", "photos/**"):
        found = find_images([str(tmp_path / pattern)])
        assert sorted(p.path.relative_to(tmp_path).as_posix() for p in found) == [
            "photos/3/b.png",
            "photos/real/a.png",
        ]
    both = find_images([str(tmp_path / "away"), str(tmp_path / "photos" / "3")])
    assert sorted(p.path.name for p in both) == ["a.png", "b.png"]


JUNK = (
    ".hidden.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", ".thumbnails/a.png",
    "__MACOSX/a.png", "deep/@eaDir/a.png", "$RECYCLE.BIN/a.png", "Thumbs.db", ".Trash-1000/a.png",
)  # fmt: skip


@pytest.mark.parametrize("pattern", ["", "*", "*/*", "**/*.png", "**", "[a-z@_$]*/*.png"])
def test_what_is_hidden_is_no_data(pattern, tmp_path):
    for name in JUNK:
        save((tmp_path / name).with_suffix(".png")).rename(tmp_path / name)
    save(tmp_path / "a.png")
    save(tmp_path / "deep" / "b.png")
    found = {
        p.path.relative_to(tmp_path).as_posix() for p in find_images([str(tmp_path / pattern)])
    }
    assert found <= {"a.png", "deep/b.png"}


def test_what_is_hidden_is_taken_when_it_is_named(tmp_path):
    for name in JUNK[:3]:
        save(tmp_path / name)
    named = [str(tmp_path / ".hidden.png"), str(tmp_path / ".ipynb_checkpoints")]
    assert names(find_images(named)) == ["_hidden", "a-checkpoint"]
    assert names(find_images([str(tmp_path / ".i*" / "*.png")])) == ["a-checkpoint"]
    assert names(find_images([str(tmp_path / ".ipynb_checkpoints" / "*")])) == ["a-checkpoint"]
    (tmp_path / "Thumbs.db").write_bytes(b"")
    with pytest.raises(FileFormatError, match="holds no image"):
        find_images([str(tmp_path / "Thumbs.db")])


def test_patterns_that_give_nothing_are_told_beside_others(tmp_path):
    a = save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    told = []
    patterns = [str(a), str(tmp_path / "empty"), str(tmp_path / "*.gif"), str(tmp_path / "b.png")]
    found = find_images(patterns, tell=told.append)
    assert names(found) == ["a", "b"]  # whoever reads b.png is told
    assert [("holds no image" in sentence) for sentence in told] == [True, True]


@needs_links
def test_a_way_back_behind_a_link_leads_where_the_link_leads(tmp_path):
    save(tmp_path / "far" / "a.png")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to("far/deep", target_is_directory=True)
    assert names(find_images([f"{tmp_path}/link/../a.png"])) == ["a"]
    assert names(find_images([f"{tmp_path}/link/.."])) == ["a"]


@pytest.mark.parametrize("out", [".", "photos", "elsewhere"])
def test_an_output_folder_around_the_images_leaves_nothing_out(out, tmp_path, monkeypatch):
    save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    for pattern in ("photos", "photos/*.png", "photos/a.png"):
        assert names(find_images([pattern], Path(out))) == ["a"]


def test_a_file_that_is_named_is_taken_from_the_output_folder_too(tmp_path):
    file = save(tmp_path / "labels" / "a.png")
    assert names(find_images([str(file)], tmp_path / "labels")) == ["a"]


@pytest.mark.parametrize("pattern", ["", "**/*.png"])
def test_images_in_the_output_folder_alone_are_told(pattern, tmp_path):
    save(tmp_path / "labels" / "a.png")
    with pytest.raises(FileFormatError, match=r"lies in the output folder .*labels: choose"):
        find_images([str(tmp_path / pattern)], tmp_path / "labels")


def test_too_many_pixels_are_not_called_damage(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(FileFormatError, match="more than 10 pixels, which only a TIFF may have"):
        read_image(path)


def test_equal_names_are_told_apart(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "a.jpg")
    one = save(tmp_path / "x" / "b.png")
    two = save(tmp_path / "y" / "b.png")
    assert names(find_images([str(tmp_path / "a.*")])) == ["a.jpg", "a.png"]
    assert names(find_images([str(one), str(two)])) == ["x/b", "y/b"]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("nothing/*.png", "holds no image"),
        ("nowhere.png", "nowhere.png is not there: check its spelling"),
        ("empty", "holds no image"),
    ],
)
def test_a_pattern_without_images_is_told(pattern, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("empty")
    with pytest.raises(FileFormatError, match=told):
        find_images([pattern])


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"),
        ("RGBA", "png"),
        ("L", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("1", "png"),
        ("CMYK", "jpg"),
        ("YCbCr", "jpg"),
        ("F", "tif"),
    ],
)
def test_every_mode_becomes_rgb(mode, suffix, tmp_path):
    plain = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    plain.convert(mode).save(tmp_path / f"a.{suffix}")
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert not pixels.stack
    assert pixels.plane(0).shape == (4, 5, 3)


@pytest.mark.parametrize(("orientation", "told"), [(None, 0), (0, 0), (1, 0), (3, 1), (6, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_orientation_is_told_and_pixels_stay_as_stored(orientation, told, suffix, tmp_path):
    stored = Image.fromarray(np.zeros((24, 40, 3), np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    stored.save(tmp_path / f"photo{suffix}", exif=exif)
    pixels = read_image(tmp_path / f"photo{suffix}")
    assert [p.data.shape for p in pixels.planes] == [(24, 40, 3)]
    assert len(pixels.notices) == told
    assert len(read_head(tmp_path / f"photo{suffix}").notices) == told
    assert all("labelled as its pixels are stored" in notice for notice in pixels.notices)


def test_what_is_no_picture_has_no_head(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert read_head(tmp_path / "broken.jpg") is None
    assert read_head(tmp_path / "absent.jpg") is None


def test_sixteen_bits_are_stretched(tmp_path):
    Image.fromarray(np.array([[0, 60000], [30000, 60000]], np.uint16)).save(tmp_path / "a.png")
    shown = read_image(tmp_path / "a.png").plane(0)
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[1, 1].tolist() == [255, 255, 255]


def test_a_transparent_palette_keeps_its_transparency(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png").plane(0).tolist() == [[[255, 255, 255], [255, 0, 0]]]


def test_frames_of_a_gif_are_a_stack(tmp_path):
    frames = [Image.new("L", (5, 4), value) for value in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    pixels = read_image(tmp_path / "a.gif")
    assert pixels.stack
    assert [int(pixels.plane(i)[0, 0, 0]) for i in range(3)] == [0, 100, 200]


@pytest.mark.parametrize(
    ("shape", "options", "planes", "rgb"),
    [
        ((4, 5), {}, 1, False),
        ((4, 5, 3), {"photometric": "rgb"}, 1, True),
        ((6, 4, 5), {"metadata": {"axes": "TYX"}}, 6, False),
        ((2, 4, 5), {"metadata": {"axes": "CYX"}}, 1, False),
        ((3, 2, 4, 5), {"metadata": {"axes": "TCYX"}}, 3, False),
        ((3, 4, 5, 3), {"metadata": {"axes": "TYXS"}, "photometric": "rgb"}, 3, True),
    ],
)
def test_axes_of_a_tiff(shape, options, planes, rgb, tmp_path):
    data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    pixels = read_image(tmp_path / "a.tif")
    assert len(pixels.planes) == planes
    assert pixels.stack == (planes > 1)
    assert pixels.planes[0].meaning.coloured == rgb
    assert pixels.plane(0).shape == (4, 5, 3)


def test_the_pixel_size_of_a_tiff_is_kept(tmp_path):
    data = np.zeros((4, 5), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", data, resolution=(2e4, 4e4), resolutionunit="CENTIMETER")
    pixels = read_image(tmp_path / "c.tif")
    assert pixels.scale == pytest.approx((0.25, 0.5))
    assert pixels.unit == "um"
    tifffile.imwrite(
        tmp_path / "i.tif", data, imagej=True, resolution=(2, 4), metadata={"unit": "micron"}
    )
    pixels = read_image(tmp_path / "i.tif")
    assert (pixels.scale, pixels.unit) == ((0.25, 0.5), "um")
    tifffile.imwrite(tmp_path / "n.tif", data)
    assert read_image(tmp_path / "n.tif").scale is None


DEGREES = (1, 1, 0, 1, 1024, 0, 1, 2)
METRES = (1, 1, 0, 2, 1024, 0, 1, 1, 3076, 0, 1, 9001)
FEET = (1, 1, 0, 2, 1024, 0, 1, 1, 3076, 0, 1, 9002)
MATRIX = (0.5, 0, 0, 9, 0, -0.25, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1)
TURNED_MAP = (0.5, 0.1, 0, 9, 0.1, -0.25, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("code", "told", "keys", "scale", "unit"),
    [
        (33550, (0.5, 0.25, 0), (), (0.25, 0.5), "m"),
        (33550, (0.5, 0.25, 0), METRES, (0.25, 0.5), "m"),
        (33550, (10, 10, 0), FEET, (3.048, 3.048), "m"),
        (33550, (1e-4, 1e-5, 0), DEGREES, (1e-5, 1e-4), "degree"),
        (33550, (0, 1, 0), METRES, None, "pixel"),
        (33550, (float("nan"), 1, 0), METRES, None, "pixel"),
        (34264, MATRIX, METRES, (0.25, 0.5), "m"),
        (34264, TURNED_MAP, METRES, None, "pixel"),
    ],
)
def test_the_pixel_size_of_a_map_is_kept(code, told, keys, scale, unit, tmp_path):
    path = tmp_path / "map.tif"
    tags = [(code, "d", len(told), told, True)]
    tags += [(34735, "H", len(keys), keys, True)] if keys else []
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8), metadata=None, extratags=tags)
    for found in (read_image(path), read_head(path)):
        assert found.scale == (pytest.approx(scale) if scale else None)
        assert found.unit == unit


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("dots", "scale"), [((25_400, 12_700), (2, 1)), ((300, 300), None), (None, None)]
)
def test_the_pixel_size_of_a_png_is_kept(dtype, dots, scale, tmp_path):
    path = tmp_path / "a.png"
    if dtype == np.uint8:
        Image.fromarray(np.zeros((4, 5, 3), dtype)).save(path, dpi=dots)
    else:  # Pillow writes no 16-bit colours
        path.write_bytes(imagecodecs.png_encode(np.zeros((4, 5, 3), dtype)))
        if dots:
            spaces = struct.pack(">IIB", *(round(d / 0.0254) for d in dots), 1)
            chunk = b"pHYs" + spaces
            whole = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
            head = path.read_bytes()
            path.write_bytes(head[:33] + whole + head[33:])
    for found in (read_image(path), read_head(path)):
        assert found.scale == (pytest.approx(scale) if scale else None)
        assert found.unit == ("um" if scale else "pixel")


def claimed(path, shape, strips=1, compression=1):
    """A small TIFF of nothing whose tags claim more."""
    tags = {256: shape[1], 257: shape[0], 258: 8, 259: compression, 262: 1, 273: 8, 277: shape[2],
            278: shape[0] // strips, 279: 8}  # fmt: skip
    body = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags.items())
    path.write_bytes(b"II*\0" + struct.pack("<IQ", 16, 0) + struct.pack("<H", len(tags)) + body
                     + bytes(4))  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((60_000, 60_000, 1), r"3,600,000,000 pixels, more than the 2,147,483,648 .*: cut it"),
        ((2**31, 2**31, 1), "more than the 2,147,483,648"),
        ((46_000, 46_000, 65_000), r"takes 128,\d\d\d GiB of memory, and this machine has"),
        ((40_000, 40_000, 1), r"damaged: it says to hold 1,600,000,000 pixels in \d+ bytes"),
    ],
)
@pytest.mark.parametrize("compression", [1, 8])
def test_a_claim_that_is_too_large_is_told_before_it_takes_memory(
    shape, sentence, compression, tmp_path
):
    path = claimed(tmp_path / "huge.tif", shape, compression=compression)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=sentence):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_damaged_files_get_one_sentence(tmp_path, monkeypatch):
    whole = save(tmp_path / "a.png", (40, 50, 3)).read_bytes()
    for name, data in {"cut.png": whole[:60], "text.png": b"hello", "text.tif": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match="damaged or no image"):
            read_image(tmp_path / name)
    with pytest.raises(FileFormatError, match="is not there"):
        read_image(tmp_path / "nowhere.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(FileFormatError, match="more than 20 pixels"):
        read_image(tmp_path / "a.png")

    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image, "open", no_memory)
    with pytest.raises(FileFormatError, match="does not fit into memory"):
        read_image(tmp_path / "a.png")


def test_a_line_is_no_image(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "l.tif", np.zeros((4, 7), np.uint8))
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda _: np.zeros(7))
    with pytest.raises(ImageError, match="needs two axes"):
        read_image(tmp_path / "l.tif")


def test_a_picture_knows_its_source(tmp_path):
    assert Picture(tmp_path / "a.jpg", "x/a", "x/a.jpg").source == "x/a.jpg"
    assert Picture(tmp_path / "a.jpg", "a").source == "a.jpg"


def test_many_large_pictures_in_one_file_are_refused(tmp_path, monkeypatch):
    frames = [Image.new("RGB", (40, 30), (50 * n, 0, 0)) for n in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    count = len(read_image(tmp_path / "a.gif").planes)
    monkeypatch.setattr(picture, "MOST", count * 40 * 30 - 1)
    with pytest.raises(ImageError, match=f"{count} pictures of 40 x 30 pixels"):
        read_image(tmp_path / "a.gif")
