"""A stand-in of the Notion API (version 2026-03-11) over real HTTP on loopback.

It answers the requests FoodWise sends as the documentation says, refuses what Notion would refuse, and
fails on demand. It keeps all that it was asked in `requests`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

Json = dict[str, Any]

SECRET = "ntn_made-up-secret-5f1e0c"
VERSION = "2026-03-11"
INVENTORY: dict[str, str] = {
    "Name": "title",
    "Quantity": "number",
    "Unit": "select",
    "Category": "select",
    "Location": "select",
    "Expiry": "date",
    "Staple": "checkbox",
    "Min Quantity": "number",
    "Notes": "rich_text",
}
SHOPPING: dict[str, str] = {
    "Name": "title",
    "Quantity": "number",
    "Unit": "select",
    "Category": "select",
    "Purchased": "checkbox",
    "Notes": "rich_text",
}
QUERY_KEYS = {"filter", "sorts", "start_cursor", "page_size", "in_trash", "result_type"}


class Refusal(Exception):  # noqa: N818
    """Answer with an error object."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.body = {
            "object": "error",
            "status": status,
            "code": code,
            "message": message or f"{code}.",
            "request_id": str(uuid4()),
        }


@dataclass
class Failure:
    """One scripted failure: what to answer instead, to the first request that fits."""

    status: int
    body: bytes
    headers: dict[str, str]
    method: str
    path: str
    delay: float = 0
    before: Callable[[], None] | None = None


@dataclass
class Source:
    """A data source: a schema, and which database it is in."""

    id: str
    name: str
    database_id: str
    properties: dict[str, Json]


@dataclass
class NotionStandIn:
    """The state of the workspace, and the answers."""

    url: str = ""
    page_limit: int = 100
    sources: dict[str, Source] = field(default_factory=dict)
    databases: dict[str, list[str]] = field(default_factory=dict)
    pages: dict[str, Json] = field(default_factory=dict)
    requests: list[tuple[str, str, Json]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    incomplete: bool = False
    _cursors: dict[str, int] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # Changes that tests make.

    def add_database(self, *schemas: dict[str, str]) -> str:
        """Add a database with a data source for each schema; returns its id."""
        database_id = str(uuid4())
        self.databases[database_id] = []
        for number, schema in enumerate(schemas):
            source = Source(str(uuid4()), f"Table {number}", database_id, {})
            self.sources[source.id] = source
            self.databases[database_id].append(source.id)
            for name, kind in schema.items():
                self.add_property(source.id, name, kind)
        return database_id

    def add_property(self, source_id: str, name: str, kind: str) -> None:
        config: Json = {"options": []} if kind in {"select", "multi_select"} else {}
        id_ = "title" if kind == "title" else f"p%3A{len(self.sources[source_id].properties)}"
        self.sources[source_id].properties[name] = {
            "id": id_, "name": name, "type": kind, kind: config,
        }  # fmt: skip

    def rename_property(self, source_id: str, old: str, new: str) -> None:
        properties = self.sources[source_id].properties
        properties[new] = properties.pop(old) | {"name": new}
        for page in self.pages.values():
            if page["parent"]["data_source_id"] == source_id:
                page["properties"][new] = page["properties"].pop(old)

    def source_of(self, database_id: str) -> str:
        return self.databases[database_id][0]

    def add_page(self, source_id: str, **values: Any) -> str:
        """Add a page as a person would in Notion; the values are given as properties are written."""
        return str(self._create_page({"parent": _parent(source_id), "properties": values})["id"])

    def fail(
        self,
        status: int,
        code: str = "",
        *,
        method: str = "",
        path: str = "",
        retry_after: str | None = None,
        body: bytes | None = None,
        delay: float = 0,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Answer the next request that fits with a failure; requests before it pass."""
        text = body if body is not None else json.dumps(Refusal(status, code).body).encode()
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        self.failures.append(Failure(status, text, headers, method, path, delay, before))

    def asked(self, method: str, path: str = "") -> list[Json]:
        """The bodies of the requests of a method whose path contains `path`."""
        return [body for m, p, body in self.requests if m == method and path in p]

    # Its answers.

    def answer(
        self, method: str, path: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            parsed = json.loads(body) if body else {}
            self.requests.append((method, path, parsed))
            failure = next(
                (f for f in self.failures if f.method in ("", method) and f.path in path), None
            )
            if failure:
                self.failures.remove(failure)
        if failure:
            time.sleep(failure.delay)
            if failure.before:
                failure.before()
            return failure.status, failure.headers, failure.body
        with self._lock:
            try:
                self._check_headers(headers, body)
                status, answer = 200, self._route(method, path, parsed)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body
        return status, {}, json.dumps(answer).encode()

    def _check_headers(self, headers: Any, body: bytes) -> None:
        if headers.get("Authorization") != f"Bearer {SECRET}":
            raise Refusal(401, "unauthorized", "API token is invalid.")
        if headers.get("Notion-Version") != VERSION:
            raise Refusal(400, "missing_version")
        if body and headers.get("Content-Type") != "application/json":
            raise Refusal(400, "invalid_json")

    def _route(self, method: str, path: str, body: Json) -> Json:
        routes: list[tuple[str, str, Callable[..., Json]]] = [
            ("GET", r"/v1/databases/([^/?]+)", lambda id_: self._database(id_)),
            ("GET", r"/v1/data_sources/([^/?]+)", lambda id_: self._data_source(id_)),
            ("POST", r"/v1/data_sources/([^/?]+)/query", lambda id_: self._query(id_, body)),
            ("POST", r"/v1/pages", lambda: self._create_page(body)),
            ("GET", r"/v1/pages/([^/?]+)", lambda id_: self._page(id_)),
            ("PATCH", r"/v1/pages/([^/?]+)", lambda id_: self._update_page(id_, body)),
        ]
        for verb, pattern, act in routes:
            if verb == method and (match := re.fullmatch(pattern, path)):
                return act(*match.groups())
        raise Refusal(400, "invalid_request_url")

    def _database(self, database_id: str) -> Json:
        if database_id not in self.databases:
            raise Refusal(404, "object_not_found", f"Could not find database: {database_id}.")
        sources = [self.sources[id_] for id_ in self.databases[database_id]]
        return {
            "object": "database",
            "id": database_id,
            "in_trash": False,
            "data_sources": [{"id": source.id, "name": source.name} for source in sources],
        }

    def _source(self, source_id: str) -> Source:
        if source_id not in self.sources:
            raise Refusal(404, "object_not_found", f"Could not find data source: {source_id}.")
        return self.sources[source_id]

    def _data_source(self, source_id: str) -> Json:
        source = self._source(source_id)
        return {"object": "data_source", "id": source_id, "properties": source.properties}

    def _page(self, page_id: str) -> Json:
        if page_id not in self.pages:
            raise Refusal(404, "object_not_found", f"Could not find page: {page_id}.")
        return self.pages[page_id]

    def _create_page(self, body: Json) -> Json:
        _known(body, {"parent", "properties"})
        source = self._source(body["parent"]["data_source_id"])
        page_id = str(uuid4())
        values = {
            name: {"id": held["id"], "type": held["type"], held["type"]: _empty(held["type"])}
            for name, held in source.properties.items()
        }
        self.pages[page_id] = {
            "object": "page",
            "id": page_id,
            "in_trash": False,
            "is_archived": False,
            "parent": _parent(source.id) | {"database_id": source.database_id},
            "properties": values | _written(source, body["properties"]),
        }
        return self.pages[page_id]

    def _update_page(self, page_id: str, body: Json) -> Json:
        _known(body, {"properties", "in_trash"})
        page = self._page(page_id)
        if page["in_trash"] and body.get("in_trash") is not False:
            raise Refusal(400, "validation_error", "Can't edit a page that is in the trash.")
        source = self._source(page["parent"]["data_source_id"])
        page["properties"] |= _written(source, body.get("properties", {}))
        page["in_trash"] = body.get("in_trash", page["in_trash"])
        return page

    def _query(self, source_id: str, body: Json) -> Json:
        _known(body, QUERY_KEYS)
        source = self._source(source_id)
        size = min(body.get("page_size", 100), self.page_limit)
        if not 1 <= body.get("page_size", 100) <= 100:
            raise Refusal(400, "validation_error", "body.page_size should be 1 to 100.")
        start = 0
        if "start_cursor" in body:
            if body["start_cursor"] not in self._cursors:
                raise Refusal(400, "validation_error", "body.start_cursor should be a valid uuid.")
            start = self._cursors[body["start_cursor"]]
        found = [
            page
            for page in self.pages.values()
            if page["parent"]["data_source_id"] == source_id
            and not page["in_trash"]
            and holds(body.get("filter", {"and": []}), page, source)
        ]
        for sort in reversed(body.get("sorts", [])):
            _property(source, sort["property"])
            found.sort(key=lambda page: _sort_key(page["properties"][sort["property"]]))
        more = start + size < len(found)
        cursor = str(uuid4()) if more else None
        if cursor:
            self._cursors[cursor] = start + size
        status: Json = {"type": "complete"}
        if self.incomplete:
            status = {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}
        return {
            "object": "list",
            "type": "page_or_data_source",
            "results": found[start : start + size],
            "has_more": more,
            "next_cursor": cursor,
            "request_status": status,
        }


def title(text: str) -> Json:
    return {"title": [{"type": "text", "text": {"content": text}}]}


def _parent(source_id: str) -> Json:
    return {"type": "data_source_id", "data_source_id": source_id}


def _known(body: Json, keys: set[str]) -> None:
    if unknown := body.keys() - keys:
        raise Refusal(400, "validation_error", f"body.{unknown.pop()} should be not present.")


def _property(source: Source, name: str) -> Json:
    if name not in source.properties:
        raise Refusal(400, "validation_error", f"Could not find property with name or id: {name}")
    return source.properties[name]


def _empty(kind: str) -> Any:
    return {"title": [], "rich_text": [], "multi_select": [], "checkbox": False}.get(kind)


def _written(source: Source, properties: Json) -> Json:
    """Check values as they are written, and turn them into values as they are read."""
    result = {}
    for name, value in properties.items():
        held = _property(source, name)
        kind = held["type"]
        if set(value) != {kind}:
            raise Refusal(400, "validation_error", f"{name} is expected to be {kind}.")
        result[name] = {"id": held["id"], "type": kind, kind: _read_form(held, kind, value[kind])}
    return result


def _read_form(held: Json, kind: str, value: Any) -> Any:
    match kind:
        case "title" | "rich_text":
            return [_read_text(piece) for piece in value]
        case "select":
            return value and _option(held, value)
        case "multi_select":
            return [_option(held, option) for option in value]
        case "date":
            _expect(value is None or re.match(r"\d{4}-\d\d-\d\d", value["start"]))
            return value and {"end": None, "time_zone": None} | value
        case "number":
            _expect(value is None or (type(value) in {int, float}))
        case "checkbox":
            _expect(isinstance(value, bool))
    return value


def _expect(condition: object) -> None:
    if not condition:
        raise Refusal(400, "validation_error", "body failed validation.")


def _read_text(piece: Json) -> Json:
    content = piece["text"]["content"]
    _expect(len(content) <= 2000)
    return {"type": "text", "text": {"content": content}, "plain_text": content}


def _option(held: Json, value: Json) -> Json:
    _expect("," not in value["name"])
    options = held[held["type"]]["options"]
    for option in options:
        if option["name"] == value["name"]:
            return dict(option)
    options.append({"id": str(uuid4()), "name": value["name"], "color": "default"})
    return dict(options[-1])


def _plain(value: Json) -> Any:
    held = value[value["type"]]
    match value["type"]:
        case "title" | "rich_text":
            return "".join(piece["plain_text"] for piece in held)
        case "select":
            return held and held["name"]
        case "multi_select":
            return [option["name"] for option in held]
        case "date":
            return held and held["start"][:10]
    return held


def _sort_key(value: Json) -> tuple[bool, Any]:
    plain = _plain(value)
    empty = plain is None or plain == ""
    return empty, "" if empty else plain.casefold() if isinstance(plain, str) else plain


def holds(condition: Json, page: Json, source: Source, depth: int = 0) -> bool:
    """Evaluate a filter as Notion does."""
    for group, combine in (("and", all), ("or", any)):
        if group in condition:
            _expect(depth < 2)
            _known(condition, {group})
            parts = [holds(part, page, source, depth + 1) for part in condition[group]]
            return combine(parts)
    held = _property(source, condition["property"])
    _expect(set(condition) == {"property", held["type"]})
    ((operator, wanted),) = condition[held["type"]].items()
    return _compare(held["type"], operator, _plain(page["properties"][held["name"]]), wanted)


def _compare(kind: str, operator: str, actual: Any, wanted: Any) -> bool:
    match kind, operator:
        case ("title" | "rich_text", "contains"):
            return bool(wanted.casefold() in actual.casefold())
        case ("multi_select", "contains"):
            return wanted in actual
        case ("select" | "checkbox" | "number", "equals"):
            return bool(actual == wanted)
        case ("number" | "date", "is_not_empty") if wanted is True:
            return actual is not None
        case ("number", "greater_than"):
            return actual is not None and actual > wanted
        case ("date", "on_or_before"):
            return actual is not None and actual <= wanted
    raise Refusal(400, "validation_error", f"{operator} is no operator for {kind}.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stand_in: NotionStandIn

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, answer = self.stand_in.answer(self.command, self.path, self.headers, body)
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = _do  # noqa: N815 - the names the library looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


@contextmanager
def notion_stand_in() -> Iterator[NotionStandIn]:
    """Serve a workspace on loopback."""
    stand_in = NotionStandIn()
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    with _Server(("127.0.0.1", 0), handler) as server:
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()
