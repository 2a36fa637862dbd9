"""Requests that are wrong in every way that was thought of: seeded mutations of requests that are right."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.serving.protocol import binary, tensors_of

NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "1E5", "0x10", "01", ".5", "1.")
TEXTS = (
    "",
    " ",
    "\u0000",
    "\u2028",
    "\ufeff",
    "'; drop table x; --",
    "../../etc/passwd",
    "{{7*7}}",
    "☃" * 50,
)
SIZES = (-1, 0, 1, 2, 3, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 1.0, 0.5, "1", None, True)
TYPES = ("INT8", "UINT64", "FP16", "FP64", "BOOL", "BYTES", "BF16", "fp64", "", "INT64 ", 7, None, [], {})
TIMES = (
    "0000-00-00",
    "2020-02-30",
    "2020-W01-1",
    "2020-03-01T25:00:00",
    "9999-12-31",
    "0001-01-01",
    "2020-03-01Z",
)
PATHS = (
    "/v1/models/{name}", "/v1/models/{name}:explain",
    "/v1/models/{name}:Predict", "/v1/models/", "/v1/models", "/v1/models/%2e%2e:predict",
    "/v1/models/{name}%00:predict", "/v1/models/nobody:predict", "/v1/models/nobody",
    "/v2/models/{name}/versions/9/infer", "/v2/models/{name}/versions/9/ready",
    "/v2/models/nobody/ready", "/v2/", "/v2/models/{name}/infer/", "/v2/models//infer",
    "/v2/repository/models/{name}/unload", "/v2/repository/index", "/v2/repository/models/{name}/load",
    "/v2/models/nobody/infer", "/openai/v1/completions", "/docs", "//", "/*", "/../../etc/passwd",
    "/%ff%fe", "/" + "a" * 9000, "/v1/models/" + "a" * 5000 + ":predict", "*", "x", "/?" + "q" * 9000,
    "http://elsewhere/v1/models/{name}:predict", "/v2/health/live", "/v2/health/ready", "/metrics",
    "/openapi.json", "/", "/v1/models/{junk}:predict", "/v2/models/{junk}/infer",
    "/v1/models/{junk}:explain",
    "/v2/models/{name}/versions/{junk}/infer", "/v1/models/{name}/choices/{junk}",
    "/v1/models/{name}/choices", "/v1/models/{name}/choices/store?limit=-1",
    "/v1/models/{name}/choices/store?contains=%ff&limit=%00",
    "/v1/models/{name}/choices/store?contains={junk}", "/{junk}",
)  # fmt: skip
METHODS = (
    "GET",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
    "",
    "PRI",
    "M-SEARCH",
)
HEADERS = (
    b"Content-Type: text/html",
    b"Content-Type: application/xml; charset=utf-16", b"Content-Type: \xff\xfe",
    b"Content-Encoding: gzip", b"Content-Encoding: br, gzip", b"Content-Encoding: \x80",
    b"Accept: */*;q=x", b"Inference-Header-Content-Length: -1",
    b"Inference-Header-Content-Length: 99999999999999999999", b"Inference-Header-Content-Length: 1.5",
    b"Inference-Header-Content-Length: \xb2", b"Ce-Id: \xff\xfe\x80",
    b"Inference-Header-Content-Length: 0", b"Inference-Header-Content-Length: 3",
    b"Ce-Id: " + b"i" * 4000, b"X-Request-Id: a\tb", b"Ce-Id: ", b"no colon here",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding: identity", b"Content-Length: 5",
    b"Content-Length: -5", b"Content-Length: 1e3", b"Upgrade: websocket\r\nConnection: upgrade",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", b"Connection: close", b"Expect: 200-maybe",
    b": empty", b"Host: a\r\nHost: b", b"Cookie: " + b"c" * 8000, b"X: " + b"x" * 70_000, b"\x00: y",
    b"A: b\r\n C: folded",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One request as bytes, and what it is, for a failing test to tell."""

    raw: bytes
    kind: str
    head_only: bool = False


@dataclass
class Fuzz:
    """Makes requests for one model from rows that it takes.

    Parameters
    ----------
    heavy : bool
        Also bodies of 10 MB.
    """

    name: str
    rows: list[dict[str, Any]]
    kinds: dict[str, str]
    seed: int
    heavy: bool = False
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def requests(self, count: int) -> Iterator[Sent]:
        makers: list[Callable[[], Sent]] = [
            self.mutated, self.mutated, self.nasty_v1, self.nasty_v1, self.nasty_v2, self.nasty_v2,
            self.wrong_binary, self.wrong_binary, self.wrong_text, self.wrong_head,
        ]  # fmt: skip
        for n in range(count):
            if self.heavy and n % 4000 == 3999:
                yield self.huge()
            elif n % 100 == 99:
                yield self.deep()
            else:
                yield self.rng.choice(makers)()

    def post(self, body: bytes, kind: str, protocol: str = "v1", *headers: bytes) -> Sent:
        path = {
            "v1": f"/v1/models/{self.name}:predict",
            "v2": f"/v2/models/{self.name}/infer",
            "explain": f"/v1/models/{self.name}:explain",
        }[protocol]
        return Sent(request("POST", path, body, *headers), f"{protocol} {kind} {body[:200]!r}")

    def valid(self) -> tuple[dict[str, Any], str]:
        rows = [dict(self.rng.choice(self.rows)) for _ in range(self.rng.randint(1, 3))]
        if self.rng.random() < 0.5:
            return {"instances": rows}, "v1"
        return {"inputs": self.tensors(rows)}, "v2"

    def tensors(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return tensors_of(self.kinds, rows)

    def mutated(self) -> Sent:
        """Bytes of a right body changed, cut, doubled or put in."""
        document, protocol = self.valid()
        raw = bytearray(json.dumps(document).encode())
        for _ in range(self.rng.randint(1, 4)):
            place = self.rng.randrange(len(raw) or 1)
            what = self.rng.randrange(5)
            if what == 0 and raw:
                raw[place] = self.rng.randrange(256)
            elif what == 1:
                raw = raw[:place]
            elif what == 2:
                raw[place:place] = raw[place : place + self.rng.randint(1, 40)]
            elif what == 3:
                del raw[place : place + self.rng.randint(1, 10)]
            else:
                raw[place:place] = self.rng.choice(NUMBERS).encode()
        return self.post(bytes(raw), "mutated", protocol)

    def strange(self) -> Any:
        """A value that is hardly right anywhere."""
        made: list[Callable[[], Any]] = [
            lambda: self.rng.choice(TEXTS), lambda: self.rng.choice(SIZES),
            lambda: self.rng.choice(TIMES), list, dict, lambda: [[[None]]], lambda: {"a": {"b": 1}},
            lambda: "x" * 5000, lambda: self.rng.uniform(-1e308, 1e308),
            lambda: self.rng.randint(-(10**40), 10**40), lambda: "\ud800", lambda: 10**4000,
            lambda: self.rng.choice(list(self.rows[0].values())),
        ]  # fmt: skip
        return self.rng.choice(made)()

    def nasty_v1(self) -> Sent:
        """A field with a strange value, missing, added, or twice; or strange rows."""
        rows: Any = [dict(self.rng.choice(self.rows)) for _ in range(self.rng.randint(1, 3))]
        what = self.rng.randrange(8)
        row, key = rows[-1], self.rng.choice(list(self.rows[0]))
        if what <= 3:
            row[key] = self.strange()
        elif what == 4:
            del row[key]
        elif what == 5:
            row[self.rng.choice([key.upper(), key + " ", "", "__proto__", "\udfff"])] = 1
        elif what == 6:
            rows = self.rng.choice([[*rows, self.strange()], self.strange(), [[*row.values()]], rows * 400])
        text = json.dumps({"instances": rows})
        if what == 7:
            text = text.replace("{", f'{{"{key}": 1, "{key}": null, ', 2)
        if self.rng.random() < 0.2:
            text = text.replace(": 1", ": " + self.rng.choice(NUMBERS), 1)
        return self.post(text.encode(), "field", "explain" if self.rng.random() < 0.05 else "v1")

    def nasty_v2(self) -> Sent:
        """A tensor with a strange name, shape, datatype, data or parameters; or tensors that do not agree."""
        rows = [dict(self.rng.choice(self.rows)) for _ in range(self.rng.randint(1, 3))]
        document: dict[str, Any] = {"inputs": self.tensors(rows)}
        tensor = self.rng.choice(document["inputs"])
        what = self.rng.randrange(9)
        if what == 0:
            tensor["shape"] = [self.rng.choice(SIZES) for _ in range(self.rng.randint(0, 5))]
        elif what == 1:
            tensor["datatype"] = self.rng.choice(TYPES)
        elif what == 2:
            tensor["data"] = self.rng.choice([self.strange(), [self.strange()], [tensor["data"]], []])
        elif what == 3:
            tensor["data"][-1] = self.strange()
        elif what == 4:
            tensor[self.rng.choice(["name", "datatype", "shape", "data"])] = self.strange()
        elif what == 5:
            tensor["parameters"] = {"binary_data_size": self.rng.choice(SIZES)}
            if self.rng.random() < 0.5:
                del tensor["data"]
        elif what == 6:
            document["inputs"].append(self.rng.choice([tensor, {}, None, [], "x"]))
        elif what == 7:
            key = self.rng.choice(["id", "outputs", "parameters", "inputs", "more", "model_name"])
            document[key] = self.rng.choice(
                [self.strange(), [{"name": self.strange()}], {"binary_data_output": 1}]
            )
        else:
            del tensor[self.rng.choice(list(tensor))]
        return self.post(json.dumps(document).encode(), "tensor", "v2")

    def wrong_binary(self) -> Sent:
        """Binary tensors with bytes too few, too many or wrong, or a length that is not theirs."""
        rows = [dict(self.rng.choice(self.rows)) for _ in range(self.rng.randint(1, 3))]
        body, headers = binary(self.tensors(rows))
        size = int(headers["Inference-Header-Content-Length"])
        head, tail = bytearray(body[:size]), bytearray(body[size:])
        what = self.rng.randrange(6)
        if what == 0:
            tail = tail[: self.rng.randrange(len(tail) + 1)]
        elif what == 1:
            tail += self.rng.randbytes(self.rng.randint(1, 30))
        elif what == 2:
            tail[:] = self.rng.randbytes(len(tail))
        elif what == 3:
            size = self.rng.choice([0, 1, size - 1, size + 1, len(body), len(body) + 1, 10**11, 10**13])
        elif what == 4:
            document = json.loads(bytes(head))
            part = self.rng.choice(document["inputs"])
            part.setdefault("parameters", {})["binary_data_size"] = self.rng.choice(SIZES)
            part["shape"] = self.rng.choice([part["shape"], [2**40, 2**40], [0], [-1], [3, 0], [10**18]])
            head = bytearray(json.dumps(document).encode())
            size = len(head)
        else:
            for _ in range(3):
                tail[self.rng.randrange(len(tail))] = self.rng.randrange(256)
        told = b"Inference-Header-Content-Length: %d" % size
        return self.post(bytes(head + tail), f"binary {what}", "v2", told)

    def wrong_text(self) -> Sent:
        """A right body in a wrong encoding, or no text at all."""
        document, protocol = self.valid()
        text = json.dumps(document, ensure_ascii=False)
        made: list[Callable[[], bytes]] = [
            lambda: text.encode("utf-16"),
                lambda: text.encode("utf-16-le"), lambda: text.encode("utf-32"),
                lambda: b"\xef\xbb\xbf" + text.encode(), lambda: text.replace("o",
                "ö").encode("latin-1", "replace"), lambda: gzip.compress(text.encode()), lambda: b"",
                lambda: b"\x00" * 50, lambda: b" \n\t",
                lambda: self.rng.randbytes(self.rng.randint(1, 300)),
                lambda: b'{"instances": "\xed\xa0\x80"}', lambda: text.encode()[:-1],
                lambda: text.encode() * 2, lambda: text.encode() + b"\x00", lambda: b"null",
                lambda: b"1", lambda: b'"x"', lambda: b"[]", lambda: b"{}", lambda: b"-",
                lambda: b"tru",
        ]  # fmt: skip
        return self.post(self.rng.choice(made)(), "text", protocol)

    def wrong_head(self) -> Sent:
        """A strange path, method, header or framing."""
        document, protocol = self.valid()
        body = json.dumps(document).encode()
        what = self.rng.randrange(5)
        if what <= 1:
            return self.post(body, "header", protocol, self.rng.choice(HEADERS))
        path = self.rng.choice(PATHS).format(name=self.name, junk=self.rng.randbytes(9).hex())
        if what == 2:
            method = self.rng.choice(["GET", "POST"])
            return Sent(request(method, path, b"" if method == "GET" else body), f"{method} {path[:90]}")
        method = self.rng.choice(METHODS)
        if what == 3:
            path = self.rng.choice(
                [f"/v1/models/{self.name}:predict", f"/v2/models/{self.name}", "/v2", path]
            )
            return Sent(request(method, path, body), f"{method} {path[:90]}")
        sizes = [b"5", b"-1", b"ffffffffffffffffffff", b"5;" + b"e" * 900, b"", b"0", b"g"]
        chunks = self.rng.choice(sizes) + b"\r\n" + body[:5] + b"\r\n0\r\n\r\n"
        head = (
            f"POST /v1/models/{self.name}:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        return Sent(head.encode() + chunks, f"chunks {chunks[:60]!r}")

    def deep(self) -> Sent:
        """Lists and objects in one another, 100,000 times, or fewer than a parser gives up at."""
        times = self.rng.choice([100, 900, 1025, 100_000])
        opened, closed = self.rng.choice([("[", "]"), ('{"a":', "}")])
        inner = opened * times + "1" + closed * times * self.rng.randint(0, 1)
        key, protocol = self.rng.choice([("instances", "v1"), ("inputs", "v2")])
        text = self.rng.choice([inner, f'{{"{key}": [{inner}]}}', f'{{"{key}": [{{"a": {inner}}}]}}'])
        return self.post(text.encode(), f"deep {times}", protocol)

    def huge(self) -> Sent:
        """One text of 10 MB where a field is expected, or many small rows."""
        row = dict(self.rows[0])
        row[self.rng.choice(list(row))] = self.rng.choice(["x", "☃", "\u0000"]) * 1_500_000
        many = [self.rng.choice([row, {}, 1])] * 3
        return self.post(json.dumps({"instances": many}).encode(), "huge")


def request(method: str, path: str, body: bytes, *headers: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", *headers]
    if body and not any(line.lower().startswith((b"content-length", b"transfer-")) for line in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
