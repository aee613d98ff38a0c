"""Fetching by the hub's own library, against a real server on loopback."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from hub import BODY, COMMIT, DIGEST, GIT
from huggingface_hub import hf_hub_download, scan_cache_dir

from napari_prelabel.models import catalog, entries, fetch, places
from napari_prelabel.values.errors import Cancelled, ChecksumMismatch, ModelError

NAME = "openai-vitb16"
SOURCE = "timm/vit_base_patch16_clip_224.openai"


@pytest.fixture
def repo(tmp_path):
    return tmp_path / "models--timm--vit_base_patch16_clip_224.openai"


@pytest.fixture
def part(repo):
    return repo / "blobs" / f"{DIGEST}.incomplete"


def with_entry(monkeypatch, **changes):
    entry = replace(catalog.MODELS[NAME], **changes)
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, NAME: entry})


def weights():
    return (catalog.model_dir(NAME) / entries.CLIP_WEIGHTS).read_bytes()


def leave(part, content):
    """What an earlier try left of the file."""
    part.parent.mkdir(parents=True)
    part.write_bytes(content)


def test_a_file_arrives_whole_checked_and_counted(hub, part, repo):
    seen = []
    assert fetch.fetch(NAME, lambda *step: seen.append(step)) == repo / "snapshots" / COMMIT
    assert weights() == BODY
    assert not part.exists()
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    assert len(seen) > 3
    before = len(hub.asked)
    fetch.fetch(NAME)
    assert len(hub.asked) == before  # it asked nobody


def test_what_was_fetched_serves_the_hubs_other_tools(hub, tmp_path):
    folder = fetch.fetch(NAME)
    asked = hf_hub_download(SOURCE, entries.CLIP_WEIGHTS, cache_dir=tmp_path, local_files_only=True)
    assert Path(asked).parent == folder
    (found,) = scan_cache_dir(tmp_path).repos
    assert (found.repo_id, found.size_on_disk) == (SOURCE, len(BODY))
    assert len(hub.ranges) == 1


def test_what_other_tools_fetched_is_not_fetched_again(hub, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    hub.faults["etag"] = GIT  # of the true content, so that it comes from this server
    place = hf_hub_download(SOURCE, "x.json", cache_dir=cache, endpoint=hub.url)
    Path(place).rename(Path(place).with_name(entries.CLIP_WEIGHTS))
    assert not catalog.installed(NAME)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert catalog.installed(NAME)
    assert fetch.fetch(NAME) == Path(place).parent
    assert len(hub.ranges) == 1


def test_a_folder_of_the_former_version_is_still_the_model(hub, tmp_path):
    leave(tmp_path / NAME / entries.CLIP_WEIGHTS, b"fetched before")
    assert fetch.fetch(NAME) == tmp_path / NAME
    assert weights() == b"fetched before"
    assert hub.asked == []


def test_a_cancelled_fetch_goes_on_where_it_stopped(hub, part):
    answers = iter([False, True])
    with pytest.raises(Cancelled):
        fetch.fetch(NAME, cancelled=lambda: next(answers))
    kept = part.stat().st_size
    assert 0 < kept < len(BODY)
    fetch.fetch(NAME)
    assert weights() == BODY
    assert hub.ranges == [None, f"bytes={kept}-"]


def test_cancelling_during_the_checksum_keeps_the_part(hub, part):  # noqa: ARG001
    leave(part, BODY)
    with pytest.raises(Cancelled):
        fetch.fetch(NAME, cancelled=lambda: True)
    assert part.exists()


def test_a_broken_connection_keeps_the_part(hub, part):
    hub.faults["cut"] = 1_500_000
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1 .*received 1500000 bytes"):
        fetch.fetch(NAME)
    assert part.stat().st_size == 1_500_000
    hub.faults.clear()
    fetch.fetch(NAME)
    assert weights() == BODY
    assert hub.ranges == [None, "bytes=1500000-"]


def test_a_server_that_sends_less_than_it_stated_is_told(hub, part):
    hub.faults["size"] = len(BODY) + 5
    with pytest.raises(ModelError, match="broke after 3,072,000 of 3,072,005 bytes"):
        fetch.fetch(NAME)
    assert part.read_bytes() == BODY


def test_a_complete_part_is_only_checked(hub, part):
    leave(part, BODY)
    fetch.fetch(NAME)
    assert weights() == BODY
    assert hub.ranges == []


@pytest.mark.parametrize("left", [BODY[:100], BODY + b"longer"])
def test_a_server_without_ranges_starts_again(hub, part, left):
    hub.faults["no_ranges"] = True
    leave(part, left)
    fetch.fetch(NAME)
    assert weights() == BODY


def test_a_part_beyond_the_file_is_dropped(hub, part):
    hub.faults["status"] = 416
    leave(part, b"x")
    with pytest.raises(ModelError, match="416"):
        fetch.fetch(NAME)
    assert not part.exists()


def test_a_wrong_checksum_deletes_the_part(hub, repo):
    hub.faults["etag"] = "0" * 64
    with pytest.raises(ChecksumMismatch) as caught:
        fetch.fetch(NAME)
    assert (caught.value.expected, caught.value.found) == ("0" * 64, DIGEST)
    assert list((repo / "blobs").iterdir()) == []
    assert not catalog.installed(NAME)


def test_content_that_the_catalogue_does_not_name_is_not_fetched(hub, monkeypatch):
    with_entry(monkeypatch, sha256="1" * 64)
    with pytest.raises(ChecksumMismatch):
        fetch.fetch(NAME)
    assert hub.ranges == []


@pytest.mark.parametrize("stated", ["a git hash", "../../../x", "", "g" * 64])
def test_without_a_checksum_nothing_is_fetched(hub, stated):
    hub.faults["etag"] = stated
    with pytest.raises(ModelError, match=r"127\.0\.0\.1 states no checksum .* unset HF_ENDPOINT"):
        fetch.fetch(NAME)
    assert hub.ranges == []


def test_a_second_process_does_not_write_into_the_part_of_the_first(hub, repo):
    repo.mkdir()
    with (
        FileLock(repo / "prelabel.lock"),
        pytest.raises(ModelError, match="is being fetched already, by another window"),
    ):
        fetch.fetch(NAME)
    assert hub.asked == []
    fetch.fetch(NAME)
    assert weights() == BODY


def test_what_another_process_fetched_meanwhile_is_not_fetched_again(hub, monkeypatch):
    fetch.fetch(NAME)
    before = len(hub.asked)
    answers = iter([False, True])
    monkeypatch.setattr(fetch, "installed", lambda _: next(answers))
    fetch.fetch(NAME)
    assert len(hub.asked) == before


@pytest.mark.parametrize("endpoint", ["a-mirror", "file:///etc", "http://[x", "http://"])
def test_an_endpoint_that_is_no_address_is_told(endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv(fetch.HUB_VARIABLE, endpoint)
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"HF_ENDPOINT is .* write it as https://host"):
        fetch.fetch(NAME)


def test_a_folder_that_cannot_be_written_is_not_called_a_broken_connection(
    hub,  # noqa: ARG001
    monkeypatch,
    tmp_path,
):
    (tmp_path / "file").touch()
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written .* PRELABEL_MODELS"):
        fetch.fetch(NAME)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_not_called_a_broken_connection(hub, part):  # noqa: ARG001
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"No space left .* free some space"):
        fetch.fetch(NAME)


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusing_server_is_named_with_the_way_out(hub, status, tmp_path):
    hub.faults["status"] = status
    with pytest.raises(ModelError, match=rf"Cannot reach 127\.0\.0\.1 .*{status}") as caught:
        fetch.fetch(NAME)
    assert f"copy the files of {SOURCE} to {tmp_path / NAME}" in str(caught.value)


def test_a_hub_out_of_reach_is_named_with_the_folder_to_copy_to(monkeypatch, tmp_path):
    monkeypatch.setenv(fetch.HUB_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1 .*copy the files of timm/"):
        fetch.fetch(NAME)


def test_offline_mode_is_kept_to_and_said(hub, tmp_path):
    """In a process of its own: the hub's library reads the variable when it is imported."""
    code = (
        "from napari_prelabel.models.fetch import fetch\n"
        "from napari_prelabel.values.errors import ModelError\n"
        f"try: fetch({NAME!r})\n"
        "except ModelError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == (
        f"HF_HUB_OFFLINE is set, so {NAME} is not fetched: unset it, or copy the files of "
        f"{SOURCE} to {tmp_path / NAME}."
    )
    assert hub.asked == []


def test_a_renamed_repository_is_followed(hub, monkeypatch):
    with_entry(monkeypatch, source="old/model")
    fetch.fetch(NAME)
    assert weights() == BODY
    assert ("HEAD", f"/new/model/resolve/main/{entries.CLIP_WEIGHTS}") in hub.asked


@pytest.mark.parametrize("source", ["circle/model", "gone/model"])
def test_a_repository_that_is_not_there_is_said(hub, monkeypatch, source):  # noqa: ARG001
    with_entry(monkeypatch, source=source)
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1"):
        fetch.fetch(NAME)


def test_pickles_are_refused_before_anything_is_asked(hub, monkeypatch):
    with_entry(monkeypatch, files=("pytorch_model.bin",))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin of openai-vitb16 can run code"):
        fetch.fetch(NAME)
    assert hub.asked == []


@pytest.fixture
def several(monkeypatch):
    """A model of two large files and a small one, which the hub names by git's hash."""

    files = ("model_index.json", "unet/a.safetensors", "vae/b.safetensors")
    entry = entries.ModelEntry(source="some/model", licence="none", files=files)
    monkeypatch.setattr(catalog, "MODELS", {"many": entry})
    return entry


def test_a_model_of_several_files_arrives_whole(hub, several, tmp_path):
    seen = []
    folder = fetch.fetch("many", lambda *step: seen.append(step))
    assert folder == tmp_path / "models--some--model" / "snapshots" / COMMIT
    assert [(folder / file).read_bytes() for file in several.files] == [BODY] * 3
    assert seen[0] == (0, 3 * len(BODY))
    assert seen[-1] == (3 * len(BODY), 3 * len(BODY))
    assert seen == sorted(seen)
    assert fetch.fetch("many") == folder
    assert len(hub.ranges) == 2  # equal files are one in the hub's cache


def test_a_folder_goes_on_at_the_file_where_it_stopped(hub, several):
    def first_file_is_here():
        return (("GET", "/some/model/resolve/main/unet/a.safetensors")) in hub.asked

    with pytest.raises(Cancelled):
        fetch.fetch("many", cancelled=first_file_is_here)
    before = len(hub.ranges)
    folder = fetch.fetch("many")
    assert len(hub.ranges) - before == 1
    assert all((folder / file).read_bytes() == BODY for file in several.files)


def test_a_snapshot_that_lacks_a_file_does_not_hide_one_that_is_whole(hub, several):
    whole = fetch.fetch("many")
    newer = whole.with_name("0" * 40)
    newer.mkdir()
    (newer / several.files[0]).write_bytes(b"of another tool")
    (whole.parents[1] / "refs" / "main").write_text(newer.name)
    before = len(hub.asked)
    assert fetch.fetch("many") == whole
    assert len(hub.asked) == before


def test_the_git_checksum_of_a_small_file_is_kept_to(hub, several):  # noqa: ARG001
    hub.faults["git"] = "0" * 40
    with pytest.raises(ChecksumMismatch, match=r"model_index\.json of many is damaged"):
        fetch.fetch("many")
    hub.faults["git"] = "unknown"
    with pytest.raises(ModelError, match=r"no checksum for model_index\.json of many"):
        fetch.fetch("many")


def test_files_of_a_folder_that_could_run_code_are_refused(hub, several, monkeypatch):
    bad = replace(several, files=("model_index.json", "unet/a.bin"))
    monkeypatch.setattr(catalog, "MODELS", {"many": bad})
    with pytest.raises(ModelError, match=r"unet/a\.bin of many can run code"):
        fetch.fetch("many")
    assert hub.asked == []


@pytest.mark.parametrize("name", ["vitb16-random", "sd21-random"])
def test_random_weights_are_not_fetched(name):
    with pytest.raises(ModelError, match="nothing to fetch"):
        fetch.fetch(name)


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="no model 'vitz'"):
        fetch.fetch("vitz")


def test_importing_loads_no_torch():
    code = "import sys, napari_prelabel.models.fetch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "given",
    [{}, {"HF_HOME": "~/h"}, {"XDG_CACHE_HOME": "/x"}, {"HF_HUB_CACHE": "$HOME/c"},
     {"HUGGINGFACE_HUB_CACHE": "/old"}, {"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"}],
    ids=str,
)  # fmt: skip
def test_the_cache_of_the_hubs_tools_is_where_their_library_has_it(given):
    code = (
        "from huggingface_hub import constants\n"
        "from napari_prelabel.models.places import hub_cache, fetch_home\n"
        "print(constants.HF_HUB_CACHE, hub_cache(), fetch_home(), sep='\\n')"
    )
    names = ("HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    environment = {k: v for k, v in os.environ.items() if k not in (*names, "PRELABEL_MODELS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=environment | given,
    )  # fmt: skip
    assert len(set(done.stdout.split())) == 1
