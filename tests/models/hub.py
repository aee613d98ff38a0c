"""A model hub on loopback: what huggingface_hub asks of one, and how one misbehaves."""

import hashlib
import http.server
from dataclasses import dataclass, field

BODY = bytes(range(256)) * 12_000  # three megabytes and a bit
DIGEST = hashlib.sha256(BODY).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()
COMMIT = "c0ffee" * 6 + "beef"


@dataclass
class Hub:
    """Answers /OWNER/NAME/resolve/REVISION/FILE of every repository with `BODY`.

    faults : how it misbehaves: "cut" ends an answer after so many bytes, "status" refuses,
        "no_ranges" sends everything again, "etag" and "git" name other content, "size" states
        another length.
    ranges : what the requests for content asked for; asked : (method, path) of every request.
    """

    url: str = ""
    faults: dict = field(default_factory=dict)
    ranges: list = field(default_factory=list)
    asked: list = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.hub.asked.append(("HEAD", self.path))
        if self.path.startswith("/old/"):
            self._redirect(self.path.replace("/old/", "/new/"))
        elif self.path.startswith("/circle/"):
            self._redirect(self.path)
        elif self.path.startswith("/gone/"):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
        else:
            self._state()

    def _redirect(self, place):
        self.send_response(307)
        self.send_header("Location", place)
        self.end_headers()

    def _state(self):
        """Large files lie in a store, as the hub's do; its answer alone carries the checksum."""
        faults, small = self.hub.faults, not self.path.endswith(".safetensors")
        size = str(faults.get("size", len(BODY)))
        self.send_response(200 if small else 302)
        self.send_header("X-Repo-Commit", faults.get("commit", COMMIT))
        if small:
            self.send_header("ETag", f'"{faults.get("git", GIT)}"')
            self.send_header("Content-Length", size)
        else:
            self.send_header("Location", "http://store.invalid/x")
            self.send_header("X-Linked-Etag", f'"{faults.get("etag", DIGEST)}"')
            self.send_header("X-Linked-Size", size)
        self.end_headers()

    def do_GET(self):
        self.hub.asked.append(("GET", self.path))
        wanted, faults = self.headers.get("Range"), self.hub.faults
        self.hub.ranges.append(wanted)
        if "status" in faults:
            self.send_response(faults["status"])
            self.end_headers()
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and "no_ranges" not in faults else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        end = start + faults["cut"] if "cut" in faults else len(BODY)
        self.wfile.write(BODY[start:end])
