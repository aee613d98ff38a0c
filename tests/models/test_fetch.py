"""Fetching against a real server on loopback."""

import hashlib
import http.server
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from napari_prelabel.models import catalog, fetch
from napari_prelabel.values.errors import Cancelled, ChecksumMismatch, ModelError

BODY = bytes(range(256)) * 12_000  # three megabytes and a bit
DIGEST = hashlib.sha256(BODY).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with ranges; `faults` decides how it misbehaves, `ranges` records what was asked."""

    faults: dict = {}  # noqa: RUF012
    ranges: list = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        if self.path.startswith("/old/"):
            self.send_response(307)
            self.send_header("Location", self.path.replace("/old/", "/new/"))
            self.send_header("Content-Length", "20")
        elif self.path.startswith("/away/"):
            self.send_response(307)
            self.send_header("Location", "file:///etc/hostname")
        elif self.path.startswith("/circle/"):
            self.send_response(307)
            self.send_header("Location", self.path)
        elif self.path.startswith("/gone/"):
            self.send_response(404)
        else:
            self.send_response(302)
            self.send_header("Location", "http://store.invalid/x")
            self.send_header("X-Linked-Etag", f'"{self.faults.get("sha256", DIGEST)}"')
            self.send_header("X-Linked-Size", str(self.faults.get("size", len(BODY))))
        self.end_headers()

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        if self.faults.get("status"):
            self.send_response(self.faults["status"])
            self.end_headers()
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted else 0
        if self.faults.get("no_ranges"):
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        end = start + self.faults["cut"] if "cut" in self.faults else len(BODY)
        self.wfile.write(BODY[start:end])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv(fetch.HUB_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv(catalog.HOME_VARIABLE, str(tmp_path))
    monkeypatch.setattr(Hub, "faults", {})
    monkeypatch.setattr(Hub, "ranges", [])
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "openai-vitb16" / (catalog.WEIGHTS + ".part")


def with_entry(monkeypatch, **changes):
    entry = replace(catalog.MODELS["openai-vitb16"], **changes)
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, "openai-vitb16": entry})


def test_a_file_arrives_whole_checked_and_counted(hub, part):
    seen = []
    path = fetch.fetch("openai-vitb16", lambda *step: seen.append(step))
    assert path.read_bytes() == BODY
    assert not part.exists()
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert fetch.fetch("openai-vitb16") == path
    assert len(hub.ranges) == 1  # the second call asked nobody


def test_a_cancelled_fetch_goes_on_where_it_stopped(hub, part):
    answers = iter([False, True])
    with pytest.raises(Cancelled):
        fetch.fetch("openai-vitb16", cancelled=lambda: next(answers))
    kept = part.stat().st_size
    assert 0 < kept < len(BODY)
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY
    assert hub.ranges == [None, f"bytes={kept}-"]


def test_cancelling_during_the_checksum_keeps_the_part(hub, part):  # noqa: ARG001
    part.parent.mkdir()
    part.write_bytes(BODY)
    with pytest.raises(Cancelled):
        fetch.fetch("openai-vitb16", cancelled=lambda: True)
    assert part.exists()


def test_a_broken_connection_keeps_the_part(hub, part):
    hub.faults["cut"] = 1_500_000
    with pytest.raises(ModelError, match="broke after 1,500,000 of 3,072,000 bytes"):
        fetch.fetch("openai-vitb16")
    assert part.stat().st_size == 1_500_000
    hub.faults.clear()
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY


def test_a_complete_part_is_only_checked(hub, part):
    part.parent.mkdir()
    part.write_bytes(BODY)
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY
    assert hub.ranges == []


@pytest.mark.parametrize("left", [BODY[:100], BODY + b"longer"])
def test_a_server_without_ranges_starts_again(hub, part, left):
    hub.faults["no_ranges"] = True
    part.parent.mkdir()
    part.write_bytes(left)
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY


def test_a_part_beyond_the_file_is_dropped(hub, part):
    hub.faults["status"] = 416
    part.parent.mkdir()
    part.write_bytes(b"x")
    with pytest.raises(ModelError, match="start again"):
        fetch.fetch("openai-vitb16")
    assert not part.exists()


def test_a_wrong_checksum_deletes_the_part(hub, part):
    hub.faults["sha256"] = "0" * 64
    with pytest.raises(ChecksumMismatch) as caught:
        fetch.fetch("openai-vitb16")
    assert (caught.value.expected, caught.value.found) == ("0" * 64, DIGEST)
    assert not part.exists()
    assert not catalog.installed("openai-vitb16")


def test_the_catalogues_checksum_goes_before_the_hubs(hub, monkeypatch):  # noqa: ARG001
    with_entry(monkeypatch, sha256="1" * 64)
    with pytest.raises(ChecksumMismatch):
        fetch.fetch("openai-vitb16")


def test_without_a_checksum_nothing_is_fetched(hub, monkeypatch):
    hub.faults["sha256"] = "a git hash"
    with pytest.raises(ModelError, match=r"127\.0\.0\.1 states no checksum .* unset HF_ENDPOINT"):
        fetch.fetch("openai-vitb16")
    assert hub.ranges == []
    with_entry(monkeypatch, sha256=DIGEST)
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY


def test_a_second_process_does_not_write_into_the_part_of_the_first(hub, part):
    part.parent.mkdir()
    with (
        FileLock(part.with_suffix(".lock")),
        pytest.raises(ModelError, match="is being fetched already, by another window"),
    ):
        fetch.fetch("openai-vitb16")
    assert hub.ranges == []
    assert fetch.fetch("openai-vitb16").read_bytes() == BODY


def test_what_another_process_fetched_meanwhile_is_not_fetched_again(hub, monkeypatch):
    answers = iter([False, True])
    monkeypatch.setattr(fetch, "installed", lambda _: next(answers))
    fetch.fetch("openai-vitb16")
    assert hub.ranges == []


@pytest.mark.parametrize("endpoint", ["a-mirror", "file:///etc", "http://[x", "http://"])
def test_an_endpoint_that_is_no_address_is_told(endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv(fetch.HUB_VARIABLE, endpoint)
    monkeypatch.setenv(catalog.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"HF_ENDPOINT is .* write it as https://host"):
        fetch.fetch("openai-vitb16")


def test_a_server_that_speaks_no_http_is_told(hub, monkeypatch):
    def talk(handler):
        handler.wfile.write(b"220 mail ready\r\n")

    monkeypatch.setattr(hub, "do_HEAD", talk)
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1 .*220 mail ready"):
        fetch.fetch("openai-vitb16")


def test_a_redirection_out_of_the_web_is_not_followed(hub, monkeypatch):  # noqa: ARG001
    with_entry(monkeypatch, source="away/model")
    with pytest.raises(ModelError, match="none of the web"):
        fetch.fetch("openai-vitb16")


def test_a_folder_that_cannot_be_written_is_not_called_a_broken_connection(
    hub,  # noqa: ARG001
    monkeypatch,
    tmp_path,
):
    (tmp_path / "file").touch()
    monkeypatch.setenv(catalog.HOME_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written .* PRELABEL_MODELS"):
        fetch.fetch("openai-vitb16")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_not_called_a_broken_connection(hub, part):  # noqa: ARG001
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"No space left .* free some space"):
        fetch.fetch("openai-vitb16")


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusing_server_is_named_with_the_way_out(hub, status, tmp_path):
    hub.faults["status"] = status
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1") as caught:
        fetch.fetch("openai-vitb16")
    assert str(tmp_path / "openai-vitb16") in str(caught.value)


def test_offline_names_host_and_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(fetch.HUB_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setenv(catalog.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"copy open_clip_model\.safetensors of timm/"):
        fetch.fetch("openai-vitb16")


def test_a_renamed_repository_is_followed(hub, monkeypatch):  # noqa: ARG001
    with_entry(monkeypatch, source="old/model")
    assert fetch.ask(fetch.hub_url("old/model", "x")) == fetch.Remote(len(BODY), DIGEST)


def test_a_circle_of_redirections_ends(hub, monkeypatch):  # noqa: ARG001
    with_entry(monkeypatch, source="circle/model")
    with pytest.raises(ModelError, match="circle"):
        fetch.fetch("openai-vitb16")


def test_a_missing_repository_is_said(hub, monkeypatch):  # noqa: ARG001
    with_entry(monkeypatch, source="gone/model")
    with pytest.raises(ModelError, match="Cannot reach"):
        fetch.fetch("openai-vitb16")


def test_pickles_are_refused_before_anything_is_asked(hub, monkeypatch):
    with_entry(monkeypatch, file="pytorch_model.bin")
    with pytest.raises(ModelError, match="not a safetensors file"):
        fetch.fetch("openai-vitb16")
    assert hub.ranges == []


@pytest.fixture
def several(hub, monkeypatch):
    """A diffusion model of two large files and a small one, which the hub names by git's hash."""

    def do_HEAD(handler):
        small = handler.path.endswith(".json")
        content = b"blob %d\0" % len(BODY) + BODY
        git = hub.faults.get("git", hashlib.sha1(content).hexdigest())
        handler.send_response(200 if small else 302)
        handler.send_header("Location", "http://store.invalid/x")
        handler.send_header("ETag" if small else "X-Linked-Etag", f'"{git if small else DIGEST}"')
        handler.send_header("Content-Length" if small else "X-Linked-Size", str(len(BODY)))
        handler.end_headers()

    class Entry:
        source = "some/model"
        files = ("model_index.json", "unet/a.safetensors", "vae/b.safetensors")

    monkeypatch.setattr(hub, "do_HEAD", do_HEAD)
    monkeypatch.setattr(fetch, "DIFFUSIONS", {"many": Entry})
    return Entry


def test_a_model_of_several_files_arrives_whole(hub, several, tmp_path):
    seen = []
    folder = fetch.fetch("many", lambda *step: seen.append(step))
    assert folder == tmp_path / "many"
    assert [(folder / file).read_bytes() for file in several.files] == [BODY] * 3
    assert seen[0] == (0, 3 * len(BODY))
    assert seen[-1] == (3 * len(BODY), 3 * len(BODY))
    assert seen == sorted(seen)
    assert fetch.fetch("many") == folder
    assert len(hub.ranges) == 3  # the second call asked nobody


def test_a_folder_goes_on_at_the_file_where_it_stopped(hub, several, tmp_path):
    steps = iter([False] * 9)
    with pytest.raises(Cancelled):
        fetch.fetch("many", cancelled=lambda: next(steps, True))
    assert (tmp_path / "many" / "model_index.json").read_bytes() == BODY
    before = len(hub.ranges)
    fetch.fetch("many")
    assert 0 < len(hub.ranges) - before <= 2
    assert all((tmp_path / "many" / file).read_bytes() == BODY for file in several.files)


def test_the_git_checksum_of_a_small_file_is_kept_to(hub, several):  # noqa: ARG001
    hub.faults["git"] = "0" * 40
    with pytest.raises(ChecksumMismatch, match=r"model_index\.json of many is damaged"):
        fetch.fetch("many")
    hub.faults["git"] = "unknown"
    with pytest.raises(ModelError, match=r"no checksum for model_index\.json of many"):
        fetch.fetch("many")


def test_files_of_a_folder_that_could_run_code_are_refused(hub, several, monkeypatch):
    monkeypatch.setattr(several, "files", ("model_index.json", "unet/a.bin"))
    with pytest.raises(ModelError, match=r"unet/a\.bin of many can run code"):
        fetch.fetch("many")
    assert hub.ranges == []


def test_a_folder_out_of_reach_is_said(several, monkeypatch, tmp_path):  # noqa: ARG001
    monkeypatch.setenv(fetch.HUB_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"Cannot reach 127\.0\.0\.1 for many") as caught:
        fetch.fetch("many")
    assert f"copy some/model to {tmp_path / 'many'}" in str(caught.value)


def test_random_weights_are_not_fetched():
    with pytest.raises(ModelError, match="nothing to fetch"):
        fetch.fetch("vitb16-random")
    with pytest.raises(ModelError, match="nothing to fetch"):
        fetch.fetch("sd21-random")


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="no model 'vitz'"):
        fetch.fetch("vitz")


def test_importing_loads_no_torch():
    code = "import sys, napari_prelabel.models.fetch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
