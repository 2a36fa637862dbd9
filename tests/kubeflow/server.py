"""An API server of Kubeflow Pipelines (v2beta1) on loopback, for the client of kfp as it is installed.

Its routes, and what goes in and out, are those of the generated client: see `contract`. The paths of logs, of
logins and of uploads that are refused are as in the server's own code (backend/src/apiserver).
"""

import email.parser
import email.policy
import json
import re
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.kubeflow.contract import faults, operations
from tests.kubeflow.listing import DENIED, HTTP, INTERNAL, UNKNOWN_CALLER, ApiError
from tests.kubeflow.state import State

LOG = re.compile(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log")


def told(value):
    """Return an answer as it is written: the server leaves out what is empty, no or zero."""
    if isinstance(value, list):
        return [told(one) for one in value]
    if not isinstance(value, dict):
        return value
    free = ("parameters", "pipeline_spec")
    return {
        key: one if key in free else told(one)
        for key, one in value.items()
        if key in free or one not in ("", 0, [], None)
    }


class Asked(NamedTuple):
    """One request that came in."""

    method: str
    path: str
    body: object
    authorization: str | None
    operation: str
    cookie: str | None


class ApiServer(ThreadingHTTPServer):
    """The server; `state` is what it keeps, `asked` what it was asked, `faults` what broke the contract.

    Attributes
    ----------
    tokens, cookies : set of str
        Who may call; while both are empty everybody may.
    login : bool
        Whether callers without a token are sent to a login page, as Dex does, and not refused.
    troubles : dict of str to list
        By operation, what happens to its next requests: an HTTP status, "lost" (done, then the connection
        breaks), "cut" (the connection breaks before), "stale" (a list is as it was when all was empty),
        seconds to wait as a float, or None for nothing.
    """

    daemon_threads = True

    def __init__(self, **state):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.state, self.asked, self.faults = State(**state), [], []
        self.tokens, self.cookies, self.login, self.troubles = set(), set(), False, {}
        self.lock = threading.Lock()

    @property
    def calls(self):
        """How often each operation was asked for."""
        return Counter(one.operation for one in self.asked)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        url = urlsplit(self.path)
        self.data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.query = dict(parse_qsl(url.query))
        operation, names = self.operation(url.path)
        cookie, token = self.headers.get("Cookie"), self.headers.get("Authorization")
        with self.server.lock:
            self.server.asked.append(Asked(self.command, url.path, self.body(), token, operation, cookie))
            waiting = self.server.troubles.get(operation, [])
            trouble = waiting.pop(0) if waiting else None
        if isinstance(trouble, float):
            time.sleep(trouble)
        if trouble == "cut":
            return self.cut()
        if trouble == "stale":
            return self.send(200, "application/json", b"{}")
        if isinstance(trouble, int):
            return self.send(trouble, "text/plain", b"upstream connect error")
        if url.path.startswith("/dex/"):
            return self.send(200, "text/html; charset=utf-8", b"<html>Log in</html>")
        reply = self.reply(operation, names, url.path)
        return self.cut() if trouble == "lost" else self.send(*reply)

    def operation(self, path):
        """Return the name of the client's call that this request is, and what is in its path."""
        for one in operations():
            found = one.match(path) if one.method == self.command else None
            if found is not None:
                return one.name, {key: unquote(value) for key, value in found.items()}
        found = LOG.fullmatch(path)
        return ("log", {"run_id": found[1], "pod": unquote(found[2])}) if found else ("", {})

    def body(self):
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.data)
            return {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                for part in parsed.iter_parts()
            }
        return json.loads(self.data) if self.data else None

    def reply(self, operation, names, path):
        try:
            with self.server.lock:
                if self.server.login and not self.known():
                    return 302, "text/html", b"", {"Location": "/dex/auth"}
                self.admit()
                if operation == "log":
                    return 200, "text/plain", self.server.state.log(**names).encode()
                found = json.dumps(self.done(operation, names, path)).encode()
            return 200, "application/json", found
        except KeyError as error:  # what has no pod has no log
            said = {"error_message": f"not found: {error}"}
            return 500, "application/json", json.dumps(said).encode()
        except ApiError as error:
            return self.refusal(operation, error)

    def refusal(self, operation, error):
        """Return an error as google.rpc.Status; uploads have a form, for strangers a status, of their own."""
        if operation.startswith("upload_"):
            status = 400 if error.code in (DENIED, UNKNOWN_CALLER) else HTTP[error.code]
            said = {"error_message": error.message, "error_details": error.message}
            return status, "text/plain", json.dumps(said).encode()
        said = {"code": error.code, "message": error.message, "details": []}
        return HTTP[error.code], "application/json", json.dumps(said).encode()

    def known(self):
        token, cookie = self.headers.get("Authorization"), self.headers.get("Cookie")
        return token in {f"Bearer {one}" for one in self.server.tokens} or cookie in self.server.cookies

    def admit(self):
        if (self.server.tokens or self.server.cookies) and not self.known():
            raise ApiError(UNKNOWN_CALLER, "Request header error: there is no user identity header.")

    def done(self, operation, names, path):
        """Do what was asked, and hold question and answer against the client's own models."""
        contract = next((one for one in operations() if one.name == operation), None)
        call = getattr(self.server.state, operation, None) if contract else None
        if call is None:
            self.server.faults.append(f"{self.command} {path} is no call that there is")
            raise ApiError(12, "Method Not Allowed")
        found = [
            f"query {name} is no parameter of {operation}" for name in self.query.keys() - contract.query
        ]
        body = self.body()
        if operation.startswith("upload_"):
            body = body["uploadfile"]
        elif contract.body:
            found += faults(contract.body, body)
        reply = call(**names, **self.query, **({"body": body} if body is not None else {}))
        reply = reply if operation.startswith("healthz_") else told(reply)
        found += faults(contract.answer, reply)
        if found:
            self.server.faults += found
            raise ApiError(INTERNAL, f"the stand-in and the contract differ: {found}")
        return reply

    def send(self, status, kind, data, headers=()):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args):
        pass


@contextmanager
def api_server(**state):
    """Yield a server that listens on loopback; at its end nothing may have broken the contract."""
    api = ApiServer(**state)
    threading.Thread(target=api.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield api
        assert api.faults == []
    finally:
        api.shutdown()
        api.server_close()
