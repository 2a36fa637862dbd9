"""Problem files: what is right is read, what is wrong is refused with line, key and nearest word."""

import http.server
import threading

import pytest

from cd4ml.adapters.problem_files import dumps, load, loads, shipped
from cd4ml.errors import NotFoundError, ProblemError, ServiceError

MINIMAL = """\
name: loans
task: classification
tables:
  loans:
    file: loans.csv
    columns:
      amount: {type: number}
      job: {type: category}
      repaid: {type: category}
facts: loans
target: {column: repaid, positive: "yes"}
features:
  - {kind: columns, columns: amount}
  - {kind: category, columns: job}
split: {kind: random, holdout: 0.2}
candidates:
  - {name: boosting, family: gradient_boosting}
metrics: {primary: roc_auc}
baselines:
  - {name: prior, kind: mean}
"""

FORECAST = """\
name: sales
task: regression
tables:
  sales:
    file: sales.csv
    columns:
      day: {type: date}
      shop: {type: category}
      units: {type: number}
      price: {type: number, known: ahead}
      footfall: {type: number}
facts: sales
time: {column: day, step: 1d}
entity: [shop]
panel: {absent: zero}
target: {column: units}
horizon: 7d
features:
  - {kind: columns, columns: price}
  - {kind: lag, of: units, lags: [7d, 14d]}
split: {kind: time, holdout: 28d}
candidates:
  - {name: boosting, family: gradient_boosting}
metrics: {primary: mae, cluster: day}
baselines:
  - {name: naive, kind: seasonal_naive, period: 7d}
"""


@pytest.mark.parametrize("name", ["adult-income", "bike-demand", "sales-forecast"])
def test_shipped_problems_load_and_survive_their_normal_form(name):
    problem = load(name)
    assert name in shipped()
    assert loads(dumps(problem, kubernetes=True)) == problem
    assert dumps(loads(dumps(problem))) == dumps(problem)


def test_words_of_yaml_1_1_stay_text():
    assert loads(MINIMAL.replace('"yes"', "yes")).target.positive == "yes"


@pytest.mark.parametrize(
    ("text", "change", "line", "told"),
    [
        (MINIMAL, ("features:", "featurs:"), 12, "unknown key 'featurs'; did you mean 'features'?"),
        (
            MINIMAL,
            ("family: gradient_boosting", "family: gradient_bosting"),
            17,
            "did you mean 'gradient_boosting'?",
        ),
        (MINIMAL, ("kind: category, columns", "kind: categories, columns"), 14, "did you mean 'category'?"),
        (MINIMAL, ("facts: loans", "facts: loan"), 10, "unknown table 'loan'; did you mean 'loans'?"),
        (MINIMAL, ("columns: job}", "columns: jobb}"), 14, "did you mean 'job'?"),
        (MINIMAL, ("columns: job}", "columns: repaid}"), 14, "repaid"),
        (MINIMAL, ("holdout: 0.2", "holdout: 1.5"), 15, "holdout"),
        (MINIMAL, ("roc_auc", "roc_ack"), 18, "did you mean 'roc_auc'?"),
        (MINIMAL, ("roc_auc", "rmse"), 18, "rmse"),
        (MINIMAL, ("kind: mean", "kind: seasonal_naive"), 20, "period"),
        (MINIMAL, ("name: prior", "name: boosting"), 20, "a candidate has the name 'boosting'"),
        (MINIMAL, ("file: loans.csv", "fil: loans.csv"), 5, "did you mean 'file'?"),
        (FORECAST, ("lags: [7d, 14d]", "lags: [6d, 14d]"), 20, "7d"),
        (FORECAST, ("columns: price}", "columns: footfall}"), 19, "footfall"),
        (FORECAST, ("columns: price}", "columns: units}"), 19, "units"),
        (FORECAST, ("kind: time, holdout: 28d", "kind: random, holdout: 0.2"), 21, "kind: time"),
        (FORECAST, ("holdout: 28d", "holdout: 3d"), 21, "shorter than the horizon"),
        (FORECAST, ("lags: [7d, 14d]", "lags: [7q]"), 20, "expected a duration such as 16d"),
        (FORECAST, ("lags: [7d, 14d]", "lags: [180h]"), 20, "whole number of steps"),
        (FORECAST, ("column: day,", "column: dya,"), 13, "did you mean 'day'?"),
        (FORECAST, ("horizon: 7d\n", ""), 0, "horizon"),
        (FORECAST, ("panel: {absent: zero}\n", ""), 0, "panel"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, change, line, told):
    assert change[0] in text
    with pytest.raises(ProblemError) as caught:
        loads(text.replace(*change), origin="my.yaml")
    message = str(caught.value)
    assert told in message
    assert message.startswith(f"my.yaml:{line}: " if line else "my.yaml:"), message
    assert "\n" not in message


def test_a_key_given_twice_is_refused():
    with pytest.raises(ProblemError, match=r"my.yaml:2: the key `name` is given twice"):
        loads("name: a\nname: b\n", origin="my.yaml")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text", ""])
def test_what_is_no_mapping_is_refused_in_one_line(text):
    with pytest.raises(ProblemError, match="expected"):
        loads(text)


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(NotFoundError, match="did you mean 'bike-demand'"):
        load("bike-demnd")
    with pytest.raises(NotFoundError, match="is a directory"):
        load(str(tmp_path))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load(str(path)).name == "loans"


def test_a_file_that_is_no_utf8_is_refused(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(MINIMAL.replace("loans", "crédits").encode("latin-1"))
    with pytest.raises(ProblemError, match="expected UTF-8 text; found byte 0xe9"):
        load(str(path))


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/p.yaml"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(MINIMAL.encode() if found else b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_problem_is_read_from_the_web(web):
    assert load(f"{web}/p.yaml").name == "loans"
    with pytest.raises(NotFoundError, match="answered 404"):
        load(f"{web}/q.yaml")


def test_an_address_that_nobody_answers_is_a_service_error():
    with pytest.raises(ServiceError, match="cannot read"):
        load("http://127.0.0.1:9/p.yaml")
