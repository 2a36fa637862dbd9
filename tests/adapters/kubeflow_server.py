"""An API server of Kubeflow Pipelines, as far as starting a run needs one."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ApiServer(ThreadingHTTPServer):
    """Answers as the v2beta1 API does; remembers what it was asked; fails a run with `status` when set."""

    def __init__(self):
        self.asked, self.status, self.reply = [], 200, None
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, path, body, self.headers.get("Authorization")))
        status, reply = 200, {}
        if path.endswith("/healthz"):
            reply = {"multi_user": False}
        elif path.endswith("/experiments") and self.command == "GET":
            reply = {"experiments": [{"experiment_id": "e1", "display_name": "cd4ml"}]}
        elif path.endswith(("/experiments/e1", "/experiments")):
            reply = {"experiment_id": "e1", "display_name": "cd4ml"}
        elif path.endswith("/runs"):
            status = self.server.status
            reply = (
                {"run_id": "r1", "experiment_id": "e1", "display_name": body["display_name"]}
                if status == 200
                else {"error": "x", "message": "the reason"}
            )
        data = self.server.reply if status != 200 and self.server.reply else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


@contextmanager
def api_server():
    """Yield a server that listens on loopback."""
    api = ApiServer()
    threading.Thread(target=api.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        api.shutdown()
        api.server_close()
