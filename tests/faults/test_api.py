"""The API: every documented route, the shape of every answer and of every error, and what hostile
requests get.
"""

import base64
import io
import json
import shutil
import sqlite3
import tempfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance
from werkzeug.serving import make_server

from mnist_nb.core import DataError, DiskFull, ModelCorrupt, TrainingError, home_folder
from mnist_nb.data.mnist import load_test_digits
from mnist_nb.data.non_digits import random_glyph
from mnist_nb.data.printed import HELD_OUT_FONTS
from mnist_nb.model.registry import ModelRegistry, set_current
from mnist_nb.reader import ActiveReader, Reader
from mnist_nb.serving.access import BODY_LIMITS
from mnist_nb.serving.api import create_app
from mnist_nb.training.config import configure
from mnist_nb.training.corrections import Corrections
from mnist_nb.training.jobs import Job, JobRunning, Jobs


class FewJobs(Jobs):
    "Jobs that start nothing."

    job = Job("today-quick", "quick", "running", 0.0, {})

    def start(self, preset="quick", changes=None, use=None):
        configure(preset, **changes or {})
        return self.job

    def resume(self):
        return self.job

    def fine_tune(self, version=None, visitor=None):
        return self.job

    def send_command(self, do, **arguments):
        return self.job


def few_app(folder, **config):
    "The API on a folder of its own, with jobs that start nothing."
    registry = ModelRegistry(folder / "models")
    return create_app(
        ActiveReader(registry),
        registry,
        FewJobs(folder / "jobs", registry),
        config,
        Corrections(folder / "corrections.sqlite"),
    )


@pytest.fixture(scope="module")
def app(module_home):
    return few_app(home_folder(), TRUSTED_HOSTS=["localhost"])


@pytest.fixture(scope="module")
def document(app):
    return app.test_client().get("/api/openapi.json").json


@pytest.fixture(scope="module")
def client(app, document):
    "A client that holds every answer against the document."
    return Checking(app.test_client(), document)


def strict(text):
    "JSON that any program could read."

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


class Checking:
    """A client whose answers are checked: JSON, documented, of the documented shape, with the
    headers that all carry.
    """

    def __init__(self, client, document):
        self.client, self.document = client, document

    def __call__(self, method, path, documented=None, **options):
        answer = self.client.open(path, method=method, **options)
        assert (
            answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["X-Request-ID"]
        )
        if answer.mimetype != "application/json" or method == "HEAD":
            return answer
        said = strict(answer.text)
        if answer.status_code >= 400:
            assert (
                said["error"]
                and said["code"]
                and said["request_id"] == answer.headers["X-Request-ID"]
            )
            assert (
                "Traceback" not in answer.text
                and "/home" not in answer.text
                and "/tmp" not in answer.text
            )
        operation = (
            self.document["paths"].get(documented or path.partition("?")[0], {}).get(method.lower())
        )
        if operation and answer.status_code != 500:
            shape = operation["responses"][str(answer.status_code)]["content"]["application/json"][
                "schema"
            ]
            Draft202012Validator(shape | {"components": self.document["components"]}).validate(said)
        for digit in (
            said.get("predictions", said.get("digits", [said]))
            if answer.status_code == 200 and "predict" in path
            else []
        ):
            check_digit(digit)
        return answer


def check_digit(answer):
    "A reading's probabilities are probabilities, and its digit is the most probable one."
    if "probabilities" not in answer:
        return
    p = np.array(answer["probabilities"])
    assert p.shape == (10,) and (p >= 0).all() and p.sum() == pytest.approx(1, abs=1e-5)
    assert answer["rejected"] == (answer["digit"] is None) and answer["digit"] in (None, p.argmax())


def png(array, kind="PNG", **options):
    "An array as the bytes of an image file."
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def form(*files, field="image"):
    "A form with files."
    return {
        "data": {field: [(io.BytesIO(content), f"{n}.png") for n, content in enumerate(files)]},
        "content_type": "multipart/form-data",
    }


@pytest.fixture(scope="module")
def seven(module_home):
    return png(load_test_digits()[0][0])


STROKES = [[[0, 0], [20, 0], [8, 40]]]
BLANK = png(np.full((50, 50), 255, np.uint8))


def test_28_document(document):
    validate(document)
    assert document["openapi"].startswith("3.1") and "/api/train/events" in document["paths"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"] and operation["tags"], (method, path)


@pytest.mark.parametrize(
    "method, path, status, body",
    [
        ("GET", "/api/model_info", 200, None),
        ("GET", "/api/models", 200, None),
        ("POST", "/api/models/use", 200, {"version": "pretrained"}),
        ("POST", "/api/models/rollback", 409, None),
        ("GET", "/api/sample_predictions", 200, None),
        ("POST", "/api/predict", 200, {"strokes": STROKES}),
        ("POST", "/api/read_sheet", 422, {"strokes": STROKES}),
        ("POST", "/api/train", 202, {"preset": "quick", "epochs": 2}),
        ("GET", "/api/train", 200, None),
        ("POST", "/api/train/stop", 200, None),
        ("POST", "/api/train/resume", 202, None),
        ("POST", "/api/train/steer", 200, {"do": "set", "name": "learning_rate", "value": 0.001}),
        ("POST", "/api/corrections", 201, {"strokes": STROKES, "label": 7, "visitor": "ann"}),
        ("GET", "/api/corrections", 200, None),
        ("POST", "/api/teach", 202, {"visitor": "ann"}),
        ("DELETE", "/api/corrections", 422, None),
        ("GET", "/api/train/events", 204, None),
        ("GET", "/api/health/live", 200, None),
        ("GET", "/api/health/ready", 200, None),
        ("GET", "/v2", 200, None),
        ("GET", "/v2/health/live", 200, None),
        ("GET", "/v2/health/ready", 200, None),
        ("GET", "/v2/models/{name}", 200, None),
        ("GET", "/v2/models/{name}/versions/{version}", 200, None),
        ("GET", "/v2/models/{name}/ready", 200, None),
        ("GET", "/v2/models/{name}/versions/{version}/ready", 200, None),
        (
            "POST",
            "/v2/models/{name}/infer",
            200,
            {
                "id": "7",
                "inputs": [
                    {"name": "images", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}
                ],
            },
        ),
        (
            "POST",
            "/v2/models/{name}/versions/{version}/infer",
            200,
            {
                "inputs": [
                    {
                        "name": "images",
                        "datatype": "FP32",
                        "shape": [2, 28, 28, 1],
                        "data": [0.5] * 1568,
                    }
                ]
            },
        ),
    ],
)
def test_every_route(client, document, method, path, status, body):
    assert method.lower() in document["paths"][path]
    said = client(
        method,
        path.format(name="mnist_nb", version="pretrained"),
        path,
        **({} if body is None else {"json": body}),
    )
    assert said.status_code == status, said.text


def test_no_route_is_left_out(document):
    marks = test_every_route.pytestmark[0].args[1]
    assert {(method.lower(), path) for method, path, *_ in marks} == {
        (method, path) for path, operations in document["paths"].items() for method in operations
    }


MAY_REFUSE = {
    "/api/predict",
    "/api/read_sheet",
    "/api/corrections",
    "/api/teach",
    "/api/train/steer",
    "/api/models/use",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
}


def pictures():
    "Real pictures of all kinds, with something in them and without, and noise."
    drawn = np.pad(np.eye(20, dtype=np.uint8) * 255, 4)
    return st.sampled_from(
        [
            png(array, kind)
            for array in (drawn, 255 - drawn, np.zeros_like(drawn))
            for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")
        ]
    ) | st.binary(max_size=100)


schemathesis.openapi.media_type("image/*", pictures())
FOLDER = tempfile.TemporaryDirectory()
SCHEMA = schemathesis.openapi.from_wsgi("/api/openapi.json", few_app(Path(FOLDER.name)))


@SCHEMA.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_28_whatever_the_document_allows(module_home, case):
    """What a schema cannot say, such as that there must be ink in a picture, may be refused all the
    same.
    """
    case.call_and_validate(
        excluded_checks=[positive_data_acceptance] if case.operation.path in MAY_REFUSE else []
    )


def answered(client, **options):
    return client("POST", "/api/predict", **options)


def test_21_all_ways_in_lead_to_the_same_answer(client, seven):
    digit = np.asarray(Image.open(io.BytesIO(seven)))
    coded = base64.b64encode(seven).decode()
    ways = {
        "form": form(seven),
        "raw": {"data": seven, "content_type": "image/png"},
        "octets": {"data": seven, "content_type": "application/octet-stream"},
        "wrong_name": {"data": seven, "content_type": "image/jpeg"},
        "base64": {"json": {"image": coded}},
        "data_url": {"json": {"image": f"data:image/png;base64,{coded}"}},
        "file": form(seven, field="file"),
        "data_url_in_a_form": {"data": {"image": f"data:image/png;base64,{coded}"}},
        "data_url_in_a_multipart_form": {
            "data": {"file": f"data:image/png;base64,{coded}"},
            "content_type": "multipart/form-data",
        },
        "no_padding": {"json": {"image": coded.rstrip("=")}},
        "url_safe": {"json": {"image": coded.replace("+", "-").replace("/", "_")}},
        "wrapped": {
            "json": {"image": "\n".join(coded[i : i + 76] for i in range(0, len(coded), 76))}
        },
        "square": {"json": {"pixels": digit.tolist()}},
        "flat": {"json": {"pixels": digit.ravel().tolist()}},
        "fractions": {"json": {"pixels": (digit / 255).tolist()}},
        "channel": {"json": {"pixels": digit.reshape(28, 28, 1).tolist()}},
        "batch": {"json": {"pixels": digit.reshape(1, 28, 28).tolist()}},
        "batch_and_channel": {"json": {"pixels": digit.reshape(1, 28, 28, 1).tolist()}},
    }
    answers = {name: answered(client, **options).json for name, options in ways.items()}
    for name, answer in answers.items():
        assert answer["digit"] == 7, name
        assert (
            answer["probabilities"] == answers["raw"]["probabilities"]
            and answer["picture"] == answers["raw"]["picture"]
        ), name
    assert set(answers["raw"]) == {
        "digit",
        "confidence",
        "probabilities",
        "rejected",
        "reason",
        "hint",
        "uncertain",
        "picture",
        "preprocessing",
        "model",
        "milliseconds",
    }


def test_corrections(client, seven):
    mine = {
        "image": base64.b64encode(seven).decode(),
        "label": 1,
        "visitor": "me",
        "source": "sample",
    }
    number = client("POST", "/api/corrections", json=mine).json["number"]
    kept = client("GET", "/api/corrections?visitor=me").json["corrections"][0]
    assert (kept["number"], kept["label"], kept["digit"], kept["source"]) == (
        number,
        1,
        7,
        "sample",
    ) and kept["picture"].startswith("data:image/png")
    client("POST", "/api/corrections", json={"strokes": STROKES, "label": None, "visitor": "you"})
    (none,) = client("GET", "/api/corrections?visitor=you&label=10").json["corrections"]
    assert none["label"] is None and none["strokes"] == STROKES and none["source"] == "drawing"
    assert client("DELETE", f"/api/corrections?number={number}&visitor=you").json["forgotten"] == 0
    assert client("DELETE", f"/api/corrections?number={number}&visitor=me").json["forgotten"] == 1
    assert client("DELETE", "/api/corrections?all=1").json["forgotten"] >= 1
    assert client("GET", "/api/corrections").json == {"corrections": [], "count": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"label": 10},
        {"label": "7"},
        {"label": True},
        {"visitor": "x" * 81},
        {"visitor": 7},
        {"source": "dream"},
        {"strokes": [[[1]]]},
        {"strokes": "ink"},
    ],
)
def test_bad_corrections(client, change):
    assert (
        client(
            "POST", "/api/corrections", json={"strokes": STROKES, "label": 7} | change
        ).status_code
        == 422
    )


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"do": "dance"},
        {"do": "set"},
        {"do": "set", "name": "epochs", "value": 1},
        {"do": "set", "name": "dropout", "value": "much"},
        {"do": "set", "name": "dropout", "value": 2},
    ],
)
def test_bad_commands(client, command):
    assert client("POST", "/api/train/steer", json=command).status_code == 422


def test_several_pictures(client, seven):
    said = answered(client, **form(seven, b"nothing", BLANK, seven)).json["predictions"]
    assert [each.get("digit") for each in said] == [7, None, None, 7] and [
        each.get("code") for each in said
    ] == [None, "unsupported_image", "no_digit", None]


def test_a_number(client, seven):
    digit = np.asarray(Image.open(io.BytesIO(seven)))
    canvas = np.zeros((60, 120), np.uint8)
    canvas[16:44, 10:38] = canvas[16:44, 70:98] = digit
    said = client("POST", "/api/predict?number=1", data=png(canvas), content_type="image/png").json
    assert said["number"] == "77" and [each["digit"] for each in said["digits"]] == [7, 7]
    assert said["digits"][0]["box"][0] < 38 < 70 < said["digits"][1]["box"][0] and all(
        each["picture"].startswith("data:image/png") for each in said["digits"]
    )
    strokes = [[[x + dx, y] for x, y in STROKES[0]] for dx in (0, 60)]
    assert (
        client("POST", "/api/predict?number=true", json={"strokes": strokes}).json["number"] == "77"
    )


def test_what_preprocessing_did(client, seven):
    upside = png(np.ascontiguousarray(255 - np.rot90(np.asarray(Image.open(io.BytesIO(seven))), 2)))
    said = client(
        "POST", "/api/predict?rotation=180&polarity=dark", data=upside, content_type="image/png"
    ).json
    assert (
        said["digit"] == 7
        and said["preprocessing"]["rotation"] == 180
        and said["preprocessing"]["polarity"] == "dark"
    )


@pytest.mark.parametrize(
    "picture",
    [BLANK, png(np.full((30, 30), 100, np.uint8)), png(np.zeros((28, 28), np.uint8))],
    ids=["white", "grey", "black"],
)
def test_19_blank(client, picture):
    said = answered(client, data=picture, content_type="image/png")
    assert (
        said.status_code == 422
        and said.json["code"] == "no_digit"
        and said.json["reason"] == "nothing drawn"
    )
    assert (
        said.json["digit"] is None
        and len(said.json["probabilities"]) == 10
        and said.json["picture"]
    )
    assert (
        client("POST", "/api/predict?number=1", data=picture, content_type="image/png").status_code
        == 422
    )


@pytest.mark.parametrize("seed", range(5))
def test_19_letters_and_two_digits_are_answered_with_a_flag(client, seven, seed):
    rng, digit = np.random.default_rng(seed), np.asarray(Image.open(io.BytesIO(seven)))
    letter, two = (
        random_glyph(rng, HELD_OUT_FONTS),
        np.hstack([digit, load_test_digits()[0][seed + 1]]),
    )
    for picture in (letter, two, rng.integers(0, 256, (60, 60)).astype(np.uint8)):
        said = answered(client, data=png(picture), content_type="image/png").json
        assert (
            said["uncertain"] == (said["rejected"] or said["confidence"] < 0.8)
            and 0 <= said["confidence"] <= 1
        )
    assert said["uncertain"], "noise is not sure"


def chunk(kind, content):
    return (
        len(content).to_bytes(4, "big")
        + kind
        + content
        + zlib.crc32(kind + content).to_bytes(4, "big")
    )


def bomb(width, height, rows):
    "A PNG of one bit a pixel, whose header claims a size."
    header = chunk(
        b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(1 + width // 8) * rows))
        + chunk(b"IEND", b"")
    )


def part(content, name='name="image"; filename="7.png"'):
    "A form with one part, byte by byte."
    return (
        b"--x\r\nContent-Disposition: form-data; "
        + name.encode()
        + b"\r\nContent-Type: image/png\r\n\r\n"
        + content
        + b"\r\n--x--\r\n"
    )


BOUND = {"content_type": "multipart/form-data; boundary=x"}
JSON = {"content_type": "application/json"}
PNG = {"content_type": "image/png"}
SMALL = png(np.eye(20, dtype=np.uint8) * 255)
BAD_REQUESTS = [
    ("no body", 400, {}, "empty_image", PNG),
    ("no type", 415, {"data": SMALL}, "unsupported_type", {}),
    ("text", 415, {"data": SMALL}, "unsupported_type", {"content_type": "text/plain"}),
    (
        "no file",
        400,
        {"data": {"other": "x"}},
        "missing_image",
        {"content_type": "multipart/form-data"},
    ),
    ("empty file", 400, form(b""), "empty_image", {}),
    ("other field", 400, form(SMALL, field="picture"), "missing_image", {}),
    ("no boundary", 400, {"data": b"--x--"}, "bad_form", {"content_type": "multipart/form-data"}),
    (
        "broken form",
        400,
        {"data": b"garbage"},
        "bad_form",
        {"content_type": "multipart/form-data; boundary=x"},
    ),
    ("nothing chosen", 400, {"data": part(b"", 'name="image"; filename=""')}, "empty_image", BOUND),
    ("no name", 400, {"data": part(SMALL, 'filename="7.png"')}, "missing_image", BOUND),
    ("cut form", 400, {"data": part(SMALL)[:-9]}, "bad_form", BOUND),
    ("many parts", 413, form(*[SMALL] * 60), "request_entity_too_large", {}),
    ("1001 parts", 413, form(*[b""] * 1001), "request_entity_too_large", {}),
    (
        "long field",
        413,
        {"data": {"a": "x" * 600_000}},
        "request_entity_too_large",
        {"content_type": "multipart/form-data"},
    ),
    ("urlencoded", 415, {"data": {"a": "x"}}, "unsupported_type", {}),
    ("long urlencoded", 413, {"data": {"a": "x" * 600_000}}, "request_entity_too_large", {}),
    (
        "too long",
        413,
        {"data": bytes(BODY_LIMITS["MAX_CONTENT_LENGTH"] + 1)},
        "request_entity_too_large",
        PNG,
    ),
    ("too many bytes", 413, {"data": bytes(20_000_001)}, "image_too_large", PNG),
    ("too many pixels", 413, {"data": bomb(20_000, 20_000, 20_000)}, "image_too_large", PNG),
    ("a header that lies", 413, {"data": bomb(2**31 - 1, 2**31 - 1, 1)}, "image_too_large", PNG),
    ("a line", 422, {"data": png(np.eye(1, 5000, dtype=np.uint8) * 255)}, "unfit_image", PNG),
    ("cut off", 400, {"data": SMALL[:45]}, "damaged_image", PNG),
    *[
        (name, 415, {"data": content}, "unsupported_image", PNG)
        for name, content in {
            "html": b"<!DOCTYPE html>",
            "pdf": b"%PDF-1.7",
            "zip": b"PK\x03\x04",
            "exe": b"MZ",
            "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            "tiff": png(np.eye(20, dtype=np.uint8), "TIFF"),
        }.items()
    ],
    *[
        (name, 400, {"data": content}, "bad_json", JSON)
        for name, content in {
            "empty": b"",
            "list": b"[]",
            "not JSON": b"{",
            "bad UTF-8": b'{"image": "\xff"}',
            "twice": b'{"image": "", "image": ""}',
            "NaN": b'{"pixels": [NaN]}',
            "Infinity": b'{"strokes": [[[Infinity, 0]]]}',
            "digits": b'{"pixels": ' + b"9" * 5000 + b"}",
            "deep": b"[" * 100_000,
            "deep object": b'{"a":' * 100_000,
        }.items()
    ],
    ("neither", 400, {"json": {}}, "missing_image", {}),
    ("both", 400, {"json": {"image": "", "pixels": []}}, "missing_image", {}),
    ("no base64", 400, {"json": {"image": "!!!!"}}, "bad_base64", {}),
    ("url base64", 415, {"json": {"image": "ab-_"}}, "unsupported_image", {}),
    (
        "enormous base64",
        413,
        {"data": b'{"image": "' + b"A" * 25_000_000 + b'"}'},
        "request_entity_too_large",
        JSON,
    ),
    ("data URL of nothing", 400, {"json": {"image": "data:image/png;base64,"}}, "empty_image", {}),
    ("empty image", 400, {"json": {"image": ""}}, "empty_image", {}),
    ("number for image", 422, {"json": {"image": 7}}, "bad_parameters", {}),
    *[
        (f"pixels {n}", 422, {"json": {"pixels": pixels}}, "bad_parameters", {})
        for n, pixels in enumerate(
            [
                7,
                "x",
                [1, 2],
                [[1] * 28] * 27,
                [256] + [0] * 783,
                [-1] + [0] * 783,
                ["a"] * 784,
                [[1] * 28] * 27 + [[1]],
                {},
                None,
                [10**400] * 784,
            ]
        )
    ],
    *[
        (f"strokes {n}", 422, {"json": {"strokes": strokes}}, "bad_parameters", {})
        for n, strokes in enumerate(
            [
                7,
                "x",
                {},
                None,
                [1],
                [[1]],
                [[[1, 2, 3, 4]]],
                [[[1, "a"]]],
                [[[1e9, 0]]],
                [[[10**400, 0]]],
            ]
        )
    ],
]


@pytest.mark.parametrize(
    "status, options, code, more",
    [each[1:] for each in BAD_REQUESTS],
    ids=[each[0] for each in BAD_REQUESTS],
)
def test_01_03_04_09_22_23_24_bad_pictures(client, monkeypatch, status, options, code, more):
    "Each is refused for its own reason, before the network is asked."
    monkeypatch.setattr(Reader, "outputs", failing(AssertionError("the network was asked")))
    if "data" in options and isinstance(options["data"], dict):
        options = options | {"data": dict(options["data"])}
    said = answered(client, **options, **more)
    assert (said.status_code, said.json["code"]) == (status, code), said.text


@pytest.mark.parametrize(
    "strokes", [[[1]], [[[1, 2, 3, 4]]], [[[1e9, 0]]], [[[10**400, 0]]], [["x"]]], ids=str
)
def test_bad_strokes_of_a_number(client, strokes):
    assert (
        client("POST", "/api/predict?number=1", json={"strokes": strokes}).json["code"]
        == "bad_parameters"
    )


@pytest.mark.parametrize(
    "query",
    [
        "number=2",
        "number=yes",
        "polarity=blue",
        "rotation=45",
        "rotation=x",
        "rotation=360000000000",
    ],
)
def test_bad_query(client, query):
    said = client("POST", f"/api/predict?{query}", data=SMALL, **PNG)
    assert said.status_code == 422 and set(said.json["fields"]) == {query.partition("=")[0]}


def test_26_a_query_that_is_not_utf8(client, document):
    for path, operations in document["paths"].items():
        for method in operations:
            said = client(method.upper(), f"{path}?a=%b4", path)
            assert (said.status_code, said.json["code"]) == (400, "bad_query")
            said = client(method.upper(), path, path, query_string=b"a=\xb4".decode("latin1"))
            assert said.status_code != 500


def test_every_group_of_the_document_has_routes(document):
    tags = {
        tag
        for operations in document["paths"].values()
        for each in operations.values()
        for tag in each["tags"]
    }
    assert tags == {tag["name"] for tag in document["tags"]}


@pytest.mark.parametrize(
    "query",
    [
        "n=-1",
        "n=0",
        "n=1000000000",
        "n=abc",
        "n=1.5",
        "n=1e1",
        "seed=-1",
        "seed=x",
        "wrong=maybe",
        "n=0&n=5",
    ],
)
def test_27_bad_samples(client, query):
    said = client("GET", f"/api/sample_predictions?{query}")
    assert said.status_code == 422 and set(said.json["fields"]) == {query.partition("=")[0]}


def test_27_samples(client):
    first, same, other = (
        client("GET", f"/api/sample_predictions?n=20&seed={seed}").json["samples"]
        for seed in (3, 3, 4)
    )
    assert first == same != other and len({each["index"] for each in first}) == 20
    labels = load_test_digits()[1]
    assert all(
        each["label"] == labels[each["index"]]
        and each["correct"] == (each["digit"] == each["label"])
        for each in first
    )
    wrong = client("GET", "/api/sample_predictions?n=100&wrong=1").json["samples"]
    assert wrong and not any(each["correct"] for each in wrong)


@pytest.mark.parametrize(
    "change, fields",
    [
        ({"epochs": -1}, ["epochs"]),
        ({"epochs": 0, "batch_size": 0}, ["batch_size", "epochs"]),
        ({"epochs": 10**9}, ["epochs"]),
        ({"epochs": "x"}, ["epochs"]),
        ({"epochs": True}, ["epochs"]),
        ({"learning_rate": -1}, ["learning_rate"]),
        ({"preset": "best"}, ["preset"]),
        ({"preset": 7}, ["preset"]),
        ({"preset": ["quick"]}, ["preset"]),
        ({"wheels": 4}, ["wheels"]),
        ({"schedule": "; rm"}, ["schedule"]),
        ({"normalisation": [1]}, ["normalisation"]),
        ({"use": "yes"}, ["use"]),
    ],
    ids=str,
)
def test_37_bad_trainings(client, change, fields):
    said = client("POST", "/api/train", json=change)
    assert said.status_code == 422 and sorted(said.json["fields"]) == fields


def test_37_a_whole_number_may_have_a_point(client):
    assert client("POST", "/api/train", json={"epochs": 2.0, "seed": 0.0}).status_code == 202
    assert set(client("POST", "/api/train", json={"epochs": 2.5, "seed": 0.0}).json["fields"]) == {
        "epochs"
    }


@pytest.mark.parametrize("path", ["/api/train", "/api/models/use", "/v2/models/mnist_nb/infer"])
@pytest.mark.parametrize(
    "options, status",
    [
        ({}, 415),
        ({"data": b"{}", "content_type": "text/plain"}, 415),
        (dict(data=b"", **JSON), 400),
        (dict(data=b'{"a": NaN}', **JSON), 400),
        (dict(data=b"[" * 100_000, **JSON), 400),
    ],
)
def test_22_bad_json(client, path, options, status):
    assert client("POST", path, **options).status_code == status


@pytest.mark.parametrize(
    "tensor",
    [
        {"shape": [1, 784], "datatype": "FP32", "data": [2.0] * 784},
        {"shape": [2, 784], "datatype": "FP32", "data": [0.0] * 784},
        {"shape": [1, 784], "datatype": "INT8", "data": [0] * 784},
        {"shape": [0, 784], "datatype": "UINT8", "data": []},
        {"shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10},
        {"shape": "x", "datatype": "FP32", "data": []},
        {"shape": [1, 784], "datatype": ["FP32"], "data": ["a"] * 784},
        {"shape": [True, 784], "datatype": "FP32", "data": "x"},
        7,
    ],
)
def test_bad_tensors(client, tensor):
    assert (
        client("POST", "/v2/models/mnist_nb/infer", json={"inputs": [tensor]}).json["code"]
        == "bad_parameters"
    )


def test_inference_protocol_reads(client):
    images, labels = (part[:50] for part in load_test_digits())
    for datatype, data in (("UINT8", images), ("FP32", images / 255)):
        said = client(
            "POST",
            "/v2/models/mnist_nb/infer",
            json={
                "inputs": [
                    {
                        "name": "images",
                        "shape": [50, 28, 28, 1],
                        "datatype": datatype,
                        "data": data.ravel().tolist(),
                    }
                ]
            },
        ).json
        outputs = {
            output["name"]: np.reshape(output["data"], output["shape"])
            for output in said["outputs"]
        }
        assert (outputs["digits"] == labels).mean() > 0.95 and outputs["probabilities"].shape == (
            50,
            10,
        )
    assert (
        client("GET", "/v2/models/mnist_nb/versions/none").status_code
        == client("GET", "/v2/models/other/ready").status_code
        == 404
    )


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/..%2f..%2fetc/passwd", 404),
        ("GET", "/api/docs/../api.py", 404),
        ("GET", "/api/docs/x", 404),
        ("GET", "/x" + "//api/predict", 404),
        ("GET", "/api/predict", 405),
        ("PUT", "/api/train", 405),
        ("DELETE", "/api/models", 405),
        ("TRACE", "/api/predict", 405),
        ("POST", "/api/model_info", 405),
        ("HEAD", "/api/health/live", 200),
        ("OPTIONS", "/api/predict", 200),
        ("GET", "/api/health/live/", 200),
    ],
)
def test_26_paths_and_methods(client, method, path, status):
    said = client(method, path)
    assert said.status_code == status and (
        status < 400 or said.json["code"] in ("not_found", "method_not_allowed")
    )
    assert "html" not in said.mimetype or method == "OPTIONS" and said.data == b""
    assert status != 405 or said.headers["Allow"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost"}, 202),
        ({}, 202),
    ],
    ids=str,
)
def test_30_foreign_pages(client, headers, status):
    assert client("POST", "/api/train", json={}, headers=headers).status_code == status
    assert client("GET", "/api/train", headers=headers).status_code == (
        403 if "Host" in headers else 200
    )


@pytest.mark.parametrize(
    "sent, kept",
    [("abc-1.2_Z", True), ("a b", False), ("<script>", False), ("x" * 65, False), ("", False)],
)
def test_request_id(client, sent, kept):
    assert (
        client("GET", "/api/health/live", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
        == sent
    ) == kept


def test_25_a_filename_is_never_said_again(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in (
        "../../x",
        "/etc/passwd",
        "CON",
        "aux.png",
        "a\0passwd",
        "n" * 4000,
        "\u202egnp.script",
        "<script>alert(1)</script>",
    ):
        for content, statuses in ((b"no picture", {415}), (SMALL, {200})):
            said = answered(
                client,
                data={"image": (io.BytesIO(content), name)},
                content_type="multipart/form-data",
            )
            assert (
                said.status_code in statuses
                and "passwd" not in said.text
                and "script" not in said.text
                and "nnnn" not in said.text
            )
    assert tempfile.gettempdir() == str(tmp_path) and not list(tmp_path.iterdir())


def test_25_uploads_stay_in_memory(client, monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.__init__", None)
    monkeypatch.setattr("tempfile.TemporaryFile", None)
    assert answered(
        client, **form(png(np.random.default_rng(0).integers(0, 255, (1500, 1500), np.uint8)))
    ).status_code in (200, 422)


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    "error, status, code",
    [
        (RuntimeError("a secret in /home/me/x.py"), 500, "internal_error"),
        (RecursionError(), 500, "internal_error"),
        (JobRunning("yesterday-full"), 409, "training_running"),
        (TrainingError("no training to resume"), 409, "training_failed"),
        (DiskFull("cannot write /home/me/jobs: No space left on device"), 507, "disk_full"),
        (DataError("no /home/me/mnist.npz"), 503, "data_missing"),
        (ModelCorrupt("/home/me/models/x: cannot be read"), 503, "model_corrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_40_what_fails_within(client, monkeypatch, caplog, error, status, code):
    monkeypatch.setattr(FewJobs, "start", failing(error))
    said = client("POST", "/api/train", json={})
    assert (
        (said.status_code, said.json["code"]) == (status, code)
        and "secret" not in said.text
        and ("Retry-After" in said.headers) == (status == 503)
    )
    assert said.json.get("job") == getattr(error, "job_id", None)
    assert (said.json["request_id"] in caplog.text) == (status == 500)


@pytest.fixture
def own(tmp_path, module_home):
    "An API with a store of its own, whose shipped version is a copy."
    registry = ModelRegistry(tmp_path / "models")
    shutil.copytree(registry.pretrained, tmp_path / "shipped")
    registry.pretrained = tmp_path / "shipped"
    return registry, create_app(
        ActiveReader(registry), registry, FewJobs(tmp_path / "jobs", registry), {}
    )


def test_42_no_model(own, document, seven):
    registry, app = own
    shutil.rmtree(registry.pretrained)
    client = Checking(app.test_client(), document)
    assert (
        client("GET", "/api/health/live").status_code == 200
        and client("GET", "/api/model_info").json["status"] == "missing"
    )
    for method, path, options in (
        ("GET", "/api/health/ready", {}),
        ("GET", "/v2/health/ready", {}),
        ("GET", "/api/sample_predictions", {}),
        ("POST", "/api/predict", dict(data=seven, **PNG)),
    ):
        said = client(method, path, **options)
        assert (
            said.status_code == 503
            and said.json["code"] == "model_missing"
            and "mnist_nb train" in said.json["error"]
            and said.headers["Retry-After"]
        )


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_06_more_kinds_only_where_the_server_was_told(home, client, seven, kind):
    content = io.BytesIO()
    Image.open(io.BytesIO(seven)).convert("RGB").save(content, kind, quality=95)
    refused = answered(client, data=content.getvalue(), content_type=f"image/{kind.lower()}")
    assert refused.status_code == 415 and refused.json["code"] == "unsupported_image"
    assert refused.json["error"] == (
        f"a {kind} picture is not read here: save it as a PNG or JPEG first, "
        f"or start the server with `mnist_nb serve --formats {kind.lower()}`"
    )
    more = few_app(home, FORMATS=[kind.lower()]).test_client()
    for path, options in (
        ("/api/predict", {"data": content.getvalue(), "content_type": "image/*"}),
        ("/api/predict", {"data": {"file": (io.BytesIO(content.getvalue()), "photo")}}),
    ):
        assert more.post(path, **options).json["digit"] == 7
    image = base64.b64encode(content.getvalue()).decode()
    for app, status in ((more, 201), (client.client, 415)):
        body = {"image": image, "label": 7, "visitor": "a"}
        assert app.post("/api/corrections", json=body).status_code == status
    assert (
        client.client.post(
            "/api/read_sheet", data=content.getvalue(), content_type="image/x"
        ).status_code
        == 415
    )


def test_40_a_correction_on_a_full_disk(client, monkeypatch):
    "SQLite's own error, from a database that may not grow."

    def full(path, connect=sqlite3.connect, **options):
        database = connect(path, **options)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr("mnist_nb.training.corrections.sqlite3.connect", full)
    said = client(
        "POST",
        "/api/corrections",
        json={"strokes": [[[n % 50, n * n % 83] for n in range(5000)]], "label": 1},
    )
    assert (said.status_code, said.json["code"]) == (507, "disk_full")


def test_43_corrupt_model(own, document, seven):
    registry, app = own
    client, network = Checking(app.test_client(), document), registry.pretrained / "model.tflite"
    network.write_bytes(network.read_bytes()[:1000])
    assert (
        client("GET", "/api/model_info").json["status"] == "corrupt"
        and client("GET", "/api/health/live").status_code == 200
    )
    assert (
        client("POST", "/api/predict", data=seven, **PNG).json["code"] == "model_corrupt"
        and network.exists()
    )
    assert (
        client("POST", "/api/models/use", json={"version": "pretrained"}).json["code"]
        == "model_corrupt"
    )


def test_36_predictions_go_on_while_the_version_changes(own, document, seven):
    registry, app = own
    versions = ["first", "second"]
    for version in versions:
        shutil.copytree(registry.pretrained, registry.folder / version)
    set_current(registry, "first")
    done = threading.Event()

    def predict(_):
        client, seen = Checking(app.test_client(), document), []
        while not done.is_set() or len(seen) < 20:
            said = client("POST", "/api/predict", data=seven, **PNG)
            seen.append((said.status_code, said.json["model"], said.json["digit"]))
        return seen

    client = Checking(app.test_client(), document)
    with ThreadPoolExecutor(3) as pool:
        running = pool.map(predict, range(3))
        for n in range(10):
            version = versions[n % 2]
            assert client("POST", "/api/models/use", json={"version": version}).status_code == 200
            assert client("POST", "/api/predict", data=seven, **PNG).json["model"] == version
        done.set()
        seen = {answer for part in running for answer in part}
    assert seen == {(200, version, 7) for version in versions}
    assert client("POST", "/api/models/rollback").json == {"current": "first"}


def test_models(own, document):
    registry, app = own
    client = Checking(app.test_client(), document)
    shutil.copytree(registry.pretrained, registry.folder / "20300101-000000-damaged")
    (registry.folder / "20300101-000000-damaged" / "report.json").write_text("{")
    rows = client("GET", "/api/models").json["models"]
    assert [(row["version"], row["current"], bool(row["test_accuracy"])) for row in rows] == [
        ("pretrained", True, True),
        ("20300101-000000-damaged", False, False),
    ]
    for version in ("none", "..", "/etc", 7, None, ["pretrained"], "\ud800"):
        assert client("POST", "/api/models/use", json={"version": version}).status_code == 422


def test_35_twenty_starts_make_one_process(module_home, tmp_path, document):
    registry, jobs = ModelRegistry(), Jobs(tmp_path / "jobs", server="")
    app = create_app(ActiveReader(registry), registry, jobs, {})
    with ThreadPoolExecutor(20) as pool:
        said = [
            *pool.map(
                lambda _: Checking(app.test_client(), document)(
                    "POST", "/api/train", json={"preset": "quick"}
                ),
                range(20),
            )
        ]
    (begun,) = [each.json["job"]["id"] for each in said if each.status_code == 202]
    assert [each.json["job"] for each in said if each.status_code != 202] == [begun] * 19 and {
        each.status_code for each in said
    } == {202, 409}
    trainings = [child for child in psutil.Process().children() if "train" in child.cmdline()]
    client = Checking(app.test_client(), document)
    state = client("GET", "/api/train").json
    assert (
        len(trainings) == 1
        and state["running"]
        and state["job"]["id"] == begun
        and client("GET", "/api/model_info").json["training"] == begun
    )
    told = client("GET", "/api/train/events")
    assert (
        told.mimetype == "text/event-stream"
        and f"id: {begun}:" in told.text
        and told.text.count("event: job") == 1
    )
    jobs.close()
    state = client("GET", "/api/train").json
    assert (
        not state["running"]
        and state["job"]["status"] == "interrupted"
        and state["job"]["resumable"]
    )
    assert client("POST", "/api/train/stop").status_code == 409


def test_a_kernel_starts_its_training_in_the_server(module_home, tmp_path):
    registry, local = ModelRegistry(), FewJobs(tmp_path / "jobs", server="")
    server = make_server(
        "127.0.0.1", 0, create_app(ActiveReader(registry), registry, local, {}), threaded=True
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        jobs = Jobs(tmp_path / "jobs", server=f"http://127.0.0.1:{server.port}")
        with pytest.raises(TrainingError, match="today-quick"):
            jobs.start("quick")
        with pytest.raises(TrainingError, match="today-quick"):
            jobs.resume()
        local.start = failing(JobRunning("yesterday-full"))
        with pytest.raises(JobRunning, match="yesterday-full") as caught:
            jobs.start("quick")
        assert caught.value.job_id == "yesterday-full"
        with pytest.raises(ValueError, match="epochs"):
            jobs.start("quick", {"epochs": 0})
    finally:
        server.shutdown()
        thread.join()
    with pytest.raises(TrainingError, match="does not answer"):
        jobs.start("quick")


def test_the_page_needs_no_other_host(client):
    page = client("GET", "/api/docs")
    assert page.status_code == 200 and "//" not in page.text.replace("<!DOCTYPE html>", "")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert client("GET", f"/api/docs/{name}").status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"].split("style-src")[0]


def test_the_document_begins_with_what_most_look_for(document):
    "No group is empty, and none begins with a route that deletes."
    groups = {tag["name"]: [] for tag in document["tags"]}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            (tag,) = operation["tags"]
            groups[tag].append(method)
    assert next(iter(groups)) == "Reading" and groups["Reading"][0] == "post"
    assert all(methods and methods[0] != "delete" for methods in groups.values())
