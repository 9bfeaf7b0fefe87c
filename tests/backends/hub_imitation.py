"""A small imitation of the Hugging Face hub on loopback: repository facts, file facts and files, also from the middle on."""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY_FACTS = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
CHUNK_BYTES = 16384


@dataclass(slots=True)
class Repository:
    """The files of a repository by path. `cut_after` ends the connection once, after so many bytes of a large file."""

    files: Mapping[str, bytes]
    gated: bool = False
    cut_after: int | None = None


@dataclass(slots=True)
class Hub:
    """What it offers, and the requests for files that it got: (path, range)."""

    repositories: dict[str, Repository]
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)


class Imitation(BaseHTTPRequestHandler):
    """Answers as huggingface.co does, as far as `huggingface_hub` asks."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if (found := REPOSITORY_FACTS.fullmatch(path)) is not None:
            self._repository(found[1])
        elif (found := FILE.fullmatch(path)) is not None:
            self._file(found[1], found[3])
        else:
            self._error(404, "EntryNotFound")

    def _repository(self, name: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._error(404, "RepoNotFound")
            return
        siblings = [{"rfilename": path} for path in repository.files]
        facts = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, path: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None or path not in repository.files:
            self._error(404, "EntryNotFound")
        elif repository.gated:
            self._error(403, "GatedRepo")
        else:
            self._content(repository, path)

    def _content(self, repository: Repository, path: str) -> None:
        content = repository.files[path]
        asked = self.headers.get("Range", "")
        first = int(re.findall(r"\d+", asked)[0]) if asked else 0
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if self.command == "GET":
            self.hub.requests.append((path, asked))
            if repository.cut_after is not None and len(content) > repository.cut_after:
                content, repository.cut_after, length = content[: repository.cut_after], None, len(content)
                self._send(200, content, headers, length)
                self.close_connection = True
                return
        self._send(206 if first else 200, content[first:], headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def log_message(self, *arguments: Any) -> None:
        """Tests print enough."""


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Serve `hub` on a free port, until the server's `shutdown`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Imitation,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
