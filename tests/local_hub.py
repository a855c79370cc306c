"""A Hub on this machine's loopback interface: the part of its HTTP API that pushing and loading models needs."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


TOKEN = "hf_writes"
_PART = 64 * 1024  # larger files are uploaded in parts of this size
_TEXT = (".json", ".md", ".py", ".txt", ".html")  # what isn't put into large file storage


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})  # name -> commit
    commits: dict[str, dict[str, tuple[str, bytes]]] = field(
        default_factory=lambda: {"0" * 40: {}}
    )  # path -> kind, data

    def files(self, revision: str) -> dict[str, tuple[str, bytes]] | None:
        return self.commits.get(self.branches.get(revision, revision))

    def read(self, path: str, revision: str = "main") -> bytes:
        return self.files(revision)[path][1]


@dataclass
class Fault:
    """What happens to requests that match: a status, or the connection breaks in the middle of the body."""

    method: str
    pattern: str
    status: int | None
    times: int


class LocalHub:
    """Repositories and large files, the requests that came, and the faults that are still to come."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}  # sha256 -> data
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.endpoint = ""

    def fail(self, method: str, pattern: str, status: int | None = None, times: int = 1000) -> None:
        self.faults.append(Fault(method, pattern, status, times))

    def uploads(self) -> list[str]:
        """The paths that large files were put to since the last look."""
        found = [path for method, path in self.requests if method == "PUT"]
        self.requests.clear()
        return found


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def do_GET(self) -> None:
        self._handle("GET")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append((method, path))
            fault = next(
                (f for f in self.hub.faults if f.times and f.method == method and re.search(f.pattern, path)), None
            )
            if fault is not None:
                fault.times -= 1
        if fault is not None and fault.status is None:
            self.rfile.read(1000)
            self.close_connection = True
            self.connection.close()
            return
        body = self._body()
        if fault is not None:
            self._answer(fault.status, {"error": f"made to fail with {fault.status}"})
            return
        with self.hub.lock:
            for name, (wanted, pattern) in _ROUTES.items():
                match = re.fullmatch(pattern, path)
                if match and method in wanted:
                    getattr(self, "_" + name)(body, **match.groupdict())
                    return
        self._answer(404, {"error": f"no such address: {method} {path}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str, message: str) -> None:
        self._answer(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})

    def _writes(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._answer(401, {"error": "Invalid username or password."})
        return False

    def _repository(self, repo: str) -> Repository | None:
        found = self.hub.repositories.get(repo)
        if found is None or (found.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._error(401, "RepoNotFound", "Repository not found")
            return None
        return found

    # ------------------------------------------------------------------------------------------------ writing

    def _create(self, body: bytes) -> None:
        if not self._writes():
            return
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        answer = {"url": f"{self.hub.endpoint}/{repo}", "name": repo, "id": repo}
        if repo in self.hub.repositories:
            self._answer(409, {**answer, "error": "You already created this model repo"})
            return
        self.hub.repositories[repo] = Repository(
            private=asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        self._answer(200, answer)

    def _validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        errors = [] if re.match(r"---\n.*\n---\n", content, flags=re.DOTALL) else [{"message": "no metadata"}]
        self._answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def _branch(self, body: bytes, repo: str, revision: str) -> None:
        if not self._writes() or (found := self._repository(repo)) is None:
            return
        if revision in found.branches:
            self._answer(409, {"error": "Reference already exists"})
            return
        found.branches[revision] = found.branches["main"]
        self._answer(200, {})

    def _preupload(self, body: bytes, repo: str, revision: str) -> None:
        if not self._writes() or (found := self._repository(repo)) is None:
            return
        files = found.files(revision) or {}
        answers = []
        for file in json.loads(body)["files"]:
            mode = "regular" if file["path"].endswith(_TEXT) else "lfs"
            answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in files:
                kind, data = files[file["path"]]
                answer["oid"] = _sha256(data) if kind == "lfs" else _git_sha(data)
            answers.append(answer)
        self._answer(200, {"files": answers})

    def _batch(self, body: bytes, repo: str) -> None:
        if not self._writes() or self._repository(repo) is None:
            return
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            address = f"{self.hub.endpoint}/large/{oid}"
            answer = {"oid": oid, "size": size}
            if oid not in self.hub.large:
                parts = {str(n + 1): f"{address}/part/{n + 1}" for n in range(-(-size // _PART))}
                upload = {"href": address}
                if size > _PART:
                    upload = {"href": f"{address}/complete", "header": {"chunk_size": str(_PART), **parts}}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{address}/verify"}}
            objects.append(answer)
        self._answer(200, {"transfer": "multipart", "objects": objects})

    def _put(self, body: bytes, oid: str, part: str | None) -> None:
        if part is None:
            self.hub.large[oid] = body
        else:
            self.hub.parts.setdefault(oid, {})[int(part)] = body
        self._answer(200, b"", {"ETag": _sha256(body)})

    def _complete(self, body: bytes, oid: str) -> None:
        numbers = sorted(part["partNumber"] for part in json.loads(body)["parts"])
        parts = self.hub.parts.pop(oid)
        self.hub.large[oid] = b"".join(parts[number] for number in numbers)
        self._answer(200, {})

    def _verify(self, body: bytes, oid: str) -> None:
        whole = oid in self.hub.large and _sha256(self.hub.large[oid]) == oid
        self._answer(200 if whole else 404, {})

    def _commit(self, body: bytes, repo: str, revision: str) -> None:
        if not self._writes() or (found := self._repository(repo)) is None:
            return
        files = dict(found.files(revision) or {})
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = ("regular", base64.b64decode(value["content"]))
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    self._answer(400, {"error": f"{value['path']} was not uploaded"})
                    return
                files[value["path"]] = ("lfs", self.hub.large[value["oid"]])
        oid = hashlib.sha1(body + str(len(found.commits)).encode()).hexdigest()
        found.commits[oid] = files
        found.branches[revision] = oid
        address = f"{self.hub.endpoint}/{repo}/commit/{oid}"
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": address, "hookOutput": ""})

    # ------------------------------------------------------------------------------------------------ reading

    def _info(self, body: bytes, repo: str, revision: str | None) -> None:
        if (found := self._repository(repo)) is None:
            return
        revision = revision or "main"
        files = found.files(revision)
        if files is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        sha = found.branches.get(revision, revision)
        siblings = [{"rfilename": path} for path in files]
        self._answer(
            200, {"id": repo, "modelId": repo, "sha": sha, "private": found.private, "siblings": siblings, "tags": []}
        )

    def _tree(self, body: bytes, repo: str, revision: str, folder: str | None) -> None:
        if (found := self._repository(repo)) is None:
            return
        files = found.files(revision) or {}
        listed = [
            {"type": "file", "path": path, "size": len(data), "oid": _git_sha(data)}
            for path, (_, data) in files.items()
            if not folder or path.startswith(folder + "/")
        ]
        if folder and not listed:
            self._error(404, "EntryNotFound", f"{folder} does not exist")
            return
        self._answer(200, listed)

    def _resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        if (found := self._repository(repo)) is None:
            return
        files = found.files(revision)
        if files is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit = {"X-Repo-Commit": found.branches.get(revision, revision)}
        if path not in files:
            self._answer(404, {}, {**commit, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        kind, data = files[path]
        headers = {**commit, "ETag": f'"{_git_sha(data)}"', "Accept-Ranges": "bytes"}
        if kind == "lfs":
            headers |= {"X-Linked-Etag": f'"{_sha256(data)}"', "X-Linked-Size": str(len(data))}
        self._answer(200, data, headers)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
# Name of a method -> HTTP methods and address.
_ROUTES = {
    "create": (("POST",), "/api/repos/create"),
    "validate": (("POST",), "/api/validate-yaml"),
    "branch": (("POST",), rf"/api/models/{_REPO}/branch/(?P<revision>.+)"),
    "preupload": (("POST",), rf"/api/models/{_REPO}/preupload/(?P<revision>.+)"),
    "commit": (("POST",), rf"/api/models/{_REPO}/commit/(?P<revision>.+)"),
    "batch": (("POST",), rf"/{_REPO}\.git/info/lfs/objects/batch"),
    "put": (("PUT",), r"/large/(?P<oid>\w+)(?:/part/(?P<part>\d+))?"),
    "complete": (("POST",), r"/large/(?P<oid>\w+)/complete"),
    "verify": (("POST",), r"/large/(?P<oid>\w+)/verify"),
    "info": (("GET",), rf"/api/models/{_REPO}(?:/revision/(?P<revision>.+))?"),
    "tree": (("GET",), rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)/?(?P<folder>.+)?"),
    "resolve": (("GET", "HEAD"), rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
}
