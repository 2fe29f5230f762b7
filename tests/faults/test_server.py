"""The real server on its one port: routes, and everything that must not come through."""

import gzip
import io
import json
import re
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mnist_nb.core import MnistNbError
from mnist_nb.serving import access
from mnist_nb.serving.server import serve
from tests.serving import ENDINGS, PIXELS, Served, packed, patience, unpacked, words_of

FOREIGN = "http://evil.example"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_NB_HOME", str(tmp_path_factory.mktemp("home")))
        yield tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def served(home):
    server = Served(visitors=50)
    yield server
    server.stop()


@pytest.mark.parametrize(
    "path, kind, word",
    [
        ("/", "text/html", "Handwritten digits"),
        ("/train", "text/html", "Training"),
        ("/api/health/live", "application/json", "status"),
        ("/api/openapi.json", "application/json", "openapi"),
        ("/v2/health/live", "application/json", ""),
        ("/api/docs", "text/html", "swagger"),
    ],
)
def test_one_port_answers_all(served, path, kind, word):
    answer = served.get(path)
    assert (
        answer.status == 200
        and answer.headers["Content-Type"].startswith(kind)
        and word in answer.body.decode()
    )
    assert (answer.headers["X-Content-Type-Options"], answer.headers["X-Frame-Options"]) == (
        "nosniff",
        "DENY",
    ) and answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/tree",
        "/lab",
        "/voila/tree",
        "/voila/render/dashboard.ipynb",
        "/voila/files/dashboard.ipynb",
        "/dashboard.ipynb",
        "/voila/static/voila.js",
        "/voila/api/contents",
        "/voila/api/shutdown/x",
        "/voila/templates/lab/static/voila.js",
        "/static/../server.py",
        "/static/page.js",
        "/static/%2e%2e/server.py",
        "/files/etc/passwd",
        "/login",
        "/api/kernels",
        "/api/kernels/6e0b8f0e-0000-0000-0000-000000000000",
        "/api/contents",
        "/api/sessions",
        "/api/terminals",
        "/api/kernelspecs",
        "/api/nothing",
        "/v2/nothing",
        "/live/",
    ],
)
def test_52_nothing_of_voila_or_jupyter_is_there(served, path):
    answer = served.get(path)
    assert answer.status == 404
    if path.startswith(("/api/", "/v2/")):
        assert {"error", "code", "request_id"} <= answer.json.keys()
    assert b"Traceback" not in answer.body and b"site-packages" not in answer.body


def test_a_page_needs_one_script_which_a_browser_keeps(served):
    page = served.get("/").body.decode()
    (address,) = set(re.findall(r'"(/static/[^"]+)"', page))
    answer = served.get(address, Accept_Encoding="gzip")
    assert "immutable" in answer.headers["Cache-Control"] and b"requirejs" in gzip.decompress(
        answer.body
    )
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_pictures_are_read_without_flask_and_errors_look_the_same(served):
    pixels = json.dumps({"pixels": [0] * 784})
    blank = served.request(
        "POST", "/api/predict", pixels, Content_Type="application/json", X_Request_ID="mine"
    )
    assert (
        blank.status == 422
        and blank.json["code"] == "no_digit"
        and blank.json["request_id"] == blank.headers["X-Request-ID"] == "mine"
    )
    other = served.request("PUT", "/api/predict", b"")
    assert other.status == 405 and "POST" in other.headers["Allow"] and other.json["code"]


def test_a_body_in_chunks_reaches_flask(served):
    answer = served.request(
        "POST", "/api/train", iter([b'{"epochs": ', b"-1}"]), Content_Type="application/json"
    )
    assert answer.status == 422 and "epochs" in answer.body.decode()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:5000",
        "192.168.1.5",
        "[::]",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/health/live", "/live/x", "/static/x.js"])
def test_30_a_foreign_host_is_refused(served, host, path):
    assert served.get(path, Host=host).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:5000"])
def test_this_machine_has_several_names(served, host):
    assert served.get("/api/health/live", Host=host).status == 200


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://localhost:1"])
@pytest.mark.parametrize("path", ["/api/train", "/api/train/stop", "/api/predict"])
def test_30_a_foreign_page_changes_nothing(served, path, origin):
    answer = served.request("POST", path, b"{}", Origin=origin, Content_Type="application/json")
    assert answer.status == 403 and answer.json["code"] == "foreign_origin"


def test_30_who_only_looks_is_not_asked_where_from(served):
    for origin in (FOREIGN, "null", served.url.rstrip("/")):
        assert served.get("/api/health/live", Origin=origin).status == 200
    assert (
        served.request(
            "POST",
            "/api/predict",
            b'{"pixels": []}',
            Origin=served.url.rstrip("/"),
            Content_Type="application/json",
        ).status
        == 422
    )


def test_30_a_foreign_page_may_link_here_but_not_use_us(served):
    assert (
        served.get(
            "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image"
        ).status
        == 403
    )
    assert (
        served.get(
            "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"
        ).status
        == 403
    )
    assert (
        served.get(
            "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document"
        ).status
        == 200
    )


def refused(served, visit, **options):
    "The status with which a websocket is refused."
    with pytest.raises(InvalidStatus) as error:
        served.live(visit, **options)
    return error.value.response.status_code


def test_30_52_a_websocket_needs_its_visit_the_protocol_and_no_foreign_page(served):
    visit = served.visit()
    assert refused(served, visit, subprotocols=()) == 400
    assert refused(served, visit, origin=FOREIGN) == 403
    assert refused(served, visit[:-1] + "x") == 404
    with served.live(visit, origin=served.url.rstrip("/")) as page:
        page.send(packed("kernel_info_request"))


def test_52_a_kernel_has_no_other_name_than_its_visit(served):
    served.visit()
    files = [
        word for process in served.kernels() for word in process.cmdline() if word.endswith(".json")
    ]
    names = [re.search(r"kernel-(.+)\.json", file)[1] for file in files]
    assert names and all(refused(served, name) == 404 for name in names)
    assert all(served.get(f"/api/kernels/{name}/channels").status == 404 for name in names)


CANARY = "import pathlib; pathlib.Path({!r}).touch()"


@pytest.mark.parametrize(
    "kind, content",
    [
        (
            "execute_request",
            {
                "code": "",
                "silent": False,
                "store_history": False,
                "user_expressions": {},
                "allow_stdin": False,
            },
        ),
        ("complete_request", {"code": "ope", "cursor_pos": 3}),
        ("inspect_request", {"code": "open", "cursor_pos": 4, "detail_level": 1}),
        ("history_request", {"hist_access_type": "tail", "n": 10}),
        ("is_complete_request", {"code": "1"}),
        ("debug_request", {"type": "request", "command": "debugInfo"}),
        ("interrupt_request", {}),
        ("shutdown_request", {"restart": True}),
        ("input_reply", {"value": "1"}),
        ("create_subshell_request", {}),
        ("comm_open", {"comm_id": "a", "target_name": "jupyter.widget", "data": {}}),
        ("comm_open", {"comm_id": "a", "target_name": "x", "target_module": "os", "data": {}}),
    ],
)
@pytest.mark.parametrize("channel", ["shell", "control"])
def test_52_a_page_can_only_talk_with_its_widgets(visitor, kind, content, channel, tmp_path):
    canary = tmp_path / "canary"
    if kind == "execute_request":
        content = content | {"code": CANARY.format(str(canary))}
    kernels = [process for process in visitor.server.kernels() if process.pid in visitor.pids]
    with visitor.server.live(visitor.visit) as page:
        page.send(packed(kind, content, channel))
        with pytest.raises(ConnectionClosed):
            while True:
                assert unpacked(page.recv(timeout=20))[0] in ("status", "kernel_info_reply")
        assert page.close_code == 4001
    assert not canary.exists() and all(process.is_running() for process in kernels)


@pytest.fixture(scope="module")
def visitor(served):
    "Somebody with a page of their own, who may come back to it."

    class Visitor:
        server, visit = served, served.visit()

    Visitor.pids = {process.pid for process in served.kernels()}
    return Visitor


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00" * 64,
        b"\xff" * 8 + b"\x00" * 100,
        (2**60).to_bytes(8, "little") + b"\x00" * 100,
        "text",
        '{"channel": "shell", "header": {"msg_type": "execute_request"}}',
        packed("comm_msg")[:-1],
        packed("comm_msg") + b"x",
        packed("comm_msg").replace(b'"msg_type"', b'"msg-type"'),
        b"\x06" + packed("comm_msg")[1:].replace(b"{", b"[", 1),
    ],
)
def test_52_malformed_messages_end_a_connection_and_no_more(visitor, message):
    server = psutil.Process(visitor.server.process.pid)
    before = server.memory_info().rss
    with visitor.server.live(visitor.visit) as page:
        page.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(timeout=20)
    assert visitor.server.get("/api/health/live").status == 200
    assert server.memory_info().rss - before < 50e6


def test_40_a_fault_in_a_page_is_told_without_its_words_and_the_page_goes_on(visitor):
    with visitor.server.live(visitor.visit) as page:

        def heard(*kinds):
            found = {}
            while not found.keys() >= {*kinds}:
                kind, content = unpacked(page.recv(timeout=20))
                found.setdefault(kind, content)
            return found

        page.send(packed("comm_info_request", {"target_name": "jupyter.widget"}))
        for each in heard("comm_info_reply")["comm_info_reply"]["comms"]:
            page.send(
                packed(
                    "comm_msg",
                    {"comm_id": each, "data": {"method": "custom", "content": "no event"}},
                )
            )
        said = heard("error")["error"]
        assert (
            said["ename"] == "AttributeError" and said["evalue"] == "" and said["traceback"] == []
        )
        page.send(packed("kernel_info_request"))
        heard("kernel_info_reply")
    assert any("AttributeError" in line for line in visitor.server.said) and not any(
        "no event" in line for line in visitor.server.said
    )


def test_02_too_large_a_body_is_refused_before_it_comes(served):
    with socket.create_connection((served.address.hostname, served.address.port)) as raw:
        raw.settimeout(20)
        raw.sendall(
            b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        )
        assert b" 413 " in raw.recv(1000).splitlines()[0]


def test_51_neither_server_nor_kernel_loads_tensorflow(served):
    served.visit()
    served.visit("/train")
    for process in [psutil.Process(served.process.pid), *served.kernels()]:
        loaded = (
            {part.path for part in process.memory_maps()}
            if hasattr(process, "memory_maps")
            else set()
        )
        assert loaded and not [path for path in loaded if "tensorflow" in path]


def finished_training(home, events):
    folder = home / "jobs" / "20260101-000000-test"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(
        json.dumps(
            {"label": "test", "config": {}, "use": None, "created": 0.0, "fine_tuning": None}
        )
    )
    with open(folder / "events.jsonl", "w") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return folder


def test_38_a_training_is_followed_to_its_end_and_from_where_one_left_off(empty_home):
    first = [
        {
            "kind": "job",
            "id": "20260101-000000-test",
            "label": "test",
            "config": {},
            "pid": 1,
            "time": 1.0,
        },
        {"kind": "start", "epochs": 2, "first": 1, "time": 2.0},
    ]
    folder = finished_training(empty_home, first)
    server = Served(warm=0)
    try:
        stream = socket.create_connection((server.address.hostname, server.address.port), 20)
        stream.sendall(
            b"GET /api/train/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        text = b""
        while b"event: start" not in text:
            text += stream.recv(65536)
        with open(folder / "events.jsonl", "a") as file:
            file.write(json.dumps({"kind": "failed", "error": "so it goes", "time": 3.0}) + "\n")
        while chunk := stream.recv(65536):
            text += chunk
        assert b"text/event-stream" in text and b"so it goes" in text
        last = re.findall(rb"id: (\S+)", text)[-1].decode()
        assert server.get("/api/train/events", Last_Event_ID=last).status == 204
        assert (
            b"so it goes"
            in server.get("/api/train/events", Last_Event_ID="20260101-000000-test:0").body
        )
    finally:
        server.stop()


def test_30_50_a_token_is_asked_of_everything(home):
    server = Served(token="the-secret", visitors=5, warm=0)
    try:
        for path in ("/", "/train", "/api/health/live", "/static/x.js", "/live/x", "/v2"):
            assert server.get(path).status == 403
        assert server.get("/api/health/live").json["code"] == "token_needed"
        assert (
            server.get("/?token=wrong").status
            == server.get("/", Authorization="Bearer wrong").status
            == server.get("/", Cookie=f"mnist_nb_{server.address.port}=the-secret").status
            == 403
        )
        assert (
            server.get("/api/health/live", Authorization="Bearer the-secret").status
            == server.get("/api/health/live", Authorization="token the-secret").status
            == 200
        )
        welcome = server.get("/?token=the-secret")
        cookie, options = welcome.headers["Set-Cookie"].split(";", 1)
        assert (
            welcome.status == 302
            and welcome.headers["Location"] == "/"
            and "HttpOnly" in options
            and "the-secret" not in cookie
        )
        visit = server.visit(Cookie=cookie)
        assert refused(server, visit) == 403
        with server.live(visit, additional_headers={"Cookie": cookie}) as page:
            page.send(packed("kernel_info_request"))
        assert server.get("/api/health/live", Host="digits.example", Cookie=cookie).status == 200
        assert "the-secret" not in "".join(server.said[1:])
    finally:
        server.stop()


def test_33_one_visitor_too_many_gets_a_friendly_page_until_one_leaves(home):
    server = Served(visitors=1, warm=0)
    try:
        visit = server.visit()
        full = server.get("/")
        assert full.status == 503 and full.headers["Retry-After"] and b"try again" in full.body
        with server.live(visit) as page:
            page.close(1001)
        with patience() as until:
            until(lambda: server.get("/").status == 200)
    finally:
        server.stop()


def left_early(server, cookie=""):
    "Ask for a page and go when its beginning is there; the cookie that the browser then has."
    with server.dial() as connection:
        head = "GET / HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(f"{head}Cookie: {cookie}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
    cookies = re.search(rb"Set-Cookie: ([^;]+)", answer)
    return answer, cookies[1].decode() if cookies else cookie


def test_33_whoever_reloads_quickly_is_not_locked_out(home):
    server = Served(visitors=2, warm=0)
    try:
        _, cookie = left_early(server)
        for _ in range(12):
            answer, cookie = left_early(server, cookie)
            assert answer.startswith(b"HTTP/1.1 200")
        visit = server.visit(Cookie=cookie)
        assert len(server.kernels()) == 1
        with server.live(visit) as page:
            page.send(packed("kernel_info_request"))
            assert server.get("/", Cookie=cookie).status == server.get("/").status == 200
            assert server.get("/").status == 503
        assert not [line for line in server.said if "Traceback" in line]
    finally:
        server.stop()


def test_33_visitors_who_leave_before_their_page_is_there_free_their_places(home):
    server = Served(visitors=1, warm=0)
    try:
        for _ in range(3):
            assert left_early(server)[0].startswith(b"HTTP/1.1 200")
        assert server.get("/").status == 200
    finally:
        server.stop()


def test_33_a_full_server_tries_again_by_itself(home):
    server = Served(visitors=1, warm=0)
    try:
        server.visit()
        full = server.get("/")
        assert full.status == 503 and full.headers["Retry-After"] == "5"
        assert b'<meta http-equiv="refresh" content="5">' in full.body
    finally:
        server.stop()


def test_52_a_page_that_is_opened_twice_is_told_to_load_anew(served):
    _, cookie = left_early(served)
    visit = served.visit(Cookie=cookie)
    assert served.visit(Cookie=cookie) == visit
    with served.live(visit) as page:
        page.send(packed("kernel_info_request"))
        page.recv(timeout=20)
        assert served.visit(Cookie=cookie) != visit
        with served.live(visit, session="other") as other:
            with pytest.raises(ConnectionClosed):
                other.recv(timeout=20)
            assert other.close_code == 4003
        page.send(packed("kernel_info_request"))
        assert page.recv(timeout=20)


def test_52_whoever_goes_while_a_websocket_opens_leaves_no_traceback(served):
    lines = (
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org",
    )
    before = len(served.said)
    for pause in (0, 0.001, 0.005, 0.02, 0.1):
        visit = served.visit()
        with served.dial() as connection:
            request = "\r\n".join([f"GET /live/{visit}?session_id=x HTTP/1.1", *lines, "", ""])
            connection.sendall(request.encode())
            time.sleep(pause)
    assert served.get("/api/health/live").status == 200
    said = "".join(served.said[before:])
    assert not said, said


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/"),
        ("GET", "/train"),
        ("GET", "/static/x.js"),
        ("GET", "/api/models"),
        ("GET", "/api/sample_predictions"),
        ("GET", "/api/train/events"),
        ("POST", "/api/predict"),
        ("POST", "/api/train"),
        ("DELETE", "/api/corrections"),
        ("GET", "/v2"),
    ],
)
@pytest.mark.parametrize("query", [b"a=\xb4", b"n=%b4"])
def test_26_a_query_that_is_not_utf8_is_malformed(served, method, path, query):
    head = b"%s %s?%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with served.dial() as connection:
        connection.sendall(head % (method.encode(), path.encode(), query))
        assert b" 400 " in connection.recv(4096).partition(b"\r\n")[0]


def test_30_pages_of_an_allowed_origin_may_use_the_api_and_nothing_else(home):
    site = "https://digits.example"
    server = Served(allow_origins=[site], token="the-secret", warm=0)
    try:
        asked = {"Origin": site, "Access_Control_Request_Method": "POST"}
        preflight = server.request("OPTIONS", "/api/predict", **asked)
        assert preflight.status == 200
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        said = {"Authorization": "Bearer the-secret", "Content_Type": "application/json"}
        read = server.request("POST", "/api/predict", PIXELS, Origin=site, **said)
        state = server.get("/api/train", Origin=site, Sec_Fetch_Site="cross-site", **said)
        for answer in (preflight, read, state):
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == site
            assert "Access-Control-Allow-Credentials" not in answer.headers
        for path in ("/api/predict", "/api/train"):
            answer = server.request("POST", path, PIXELS, Origin=FOREIGN, **said)
            assert answer.status == 403 and "Access-Control-Allow-Origin" not in answer.headers
        assert server.request("POST", "/api/predict", PIXELS, Origin=site).status == 403
        assert server.get("/", Origin=site, Sec_Fetch_Site="cross-site", **said).status == 403
    finally:
        server.stop()


def test_30_no_origin_is_allowed_unless_it_is_named(served):
    answer = served.get("/api/models", Origin="https://digits.example")
    assert answer.status == 200 and "Access-Control-Allow-Origin" not in answer.headers
    for wrong in ("*", "digits.example", "https://digits.example/"):
        with pytest.raises(ValueError, match="allow_origin"):
            serve(allow_origins=[wrong], browser=False)


def test_06_formats_of_a_server(home):
    "A TIFF is read by the fast path and by Flask where the server was started with it."
    content = io.BytesIO()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(content, "TIFF")
    for formats, status in ((["tiff"], 422), ([], 415)):
        server = Served(formats=formats, warm=0)
        try:
            assert (
                server.request(
                    "POST", "/api/predict", content.getvalue(), Content_Type="image/tiff"
                ).status
                == status
            )
        finally:
            server.stop()
    with pytest.raises(ValueError, match="formats: expected some of tiff, avif, heic"):
        serve(formats=["bmp"], browser=False)


def test_the_training_page_has_a_way_back(served):
    assert b'<a href="/#draw"' in served.get("/train").body


def test_52_who_never_connects_and_who_is_idle_free_their_kernels(home):
    server = Served(
        constants={"kernels.CONNECT_TIMEOUT_SECONDS": 1, "kernels.RECONNECT_TIMEOUT_SECONDS": 1},
        idle_minutes=0.05,
    )
    try:
        with patience() as until:
            until(lambda: len(server.kernels()) == 2)
        server.visit()
        lost = server.live(server.visit())
        lost.socket.shutdown(socket.SHUT_RDWR)
        with server.live(server.visit()) as page:
            with pytest.raises(ConnectionClosed):
                while True:
                    page.recv(timeout=30)
            assert page.close_code == 4000
        with patience(60) as until:
            until(lambda: len(server.kernels()) == 2)
    finally:
        server.stop()


def test_50_a_taken_port_is_an_error_that_names_it(served):
    port = served.address.port
    with pytest.raises(MnistNbError, match=rf"port {port} of 127\.0\.0\.1 is in use, .*--port"):
        serve(port=port, browser=False)


def test_50_it_listens_on_this_machine_alone_and_on_one_port(served):
    listening = [
        each.laddr
        for each in psutil.Process(served.process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", served.address.port)]


def test_36_49_while_a_training_runs_and_when_it_dies(home, data_file, monkeypatch):
    "The old version answers; the killed training says so, and the next one may begin."
    monkeypatch.setenv("MNIST_NB_DATA", str(data_file))
    server = Served(warm=0)
    try:
        for _ in range(2):
            with patience() as until:
                until(
                    lambda: (
                        server.request(
                            "POST",
                            "/api/train",
                            b'{"preset": "quick"}',
                            Content_Type="application/json",
                        ).status
                        == 202
                    )
                )
            said = [
                server.request("POST", "/api/predict", PIXELS, Content_Type="application/json")
                for _ in range(20)
            ]
            assert {(answer.status, answer.json["model"]) for answer in said} == {
                (200, "pretrained")
            } and server.get("/api/train").json["running"]
            (training,) = [
                process for process in server.processes() if "train" in words_of(process)
            ]
            training.kill()
            with patience() as until:
                until(lambda: not server.get("/api/train").json["running"])
            job = server.get("/api/train").json["job"]
            assert (
                job["status"] in ("failed", "interrupted")
                and job["error"]
                and job["resumable"] == (job["status"] == "interrupted")
            )
    finally:
        server.stop()


@pytest.mark.parametrize("number", ENDINGS)
def test_38_the_end_takes_kernels_and_training_with_it(number, home, data_file, monkeypatch):
    monkeypatch.setenv("MNIST_NB_DATA", str(data_file))
    server = Served()
    try:
        with server.live(server.visit()) as page:
            started = server.request(
                "POST", "/api/train", b'{"preset": "quick"}', Content_Type="application/json"
            )
            assert started.status == 202
            processes = server.processes()
            assert len(processes) >= 3
            assert server.stop(number) < 10 and server.process.returncode == 0
            with pytest.raises(ConnectionClosed):
                while True:
                    page.recv(timeout=10)
            assert page.close_code == 4002
        assert not psutil.wait_procs(processes, 3)[1]
        assert any("Stopping" in line for line in server.said) and not any(
            "Traceback" in line for line in server.said
        )
    finally:
        server.stop()


def test_50_a_second_server_cannot_take_the_port_and_says_so_in_one_line(served):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from mnist_nb.serving.server import serve;"
            f" serve(port={served.address.port}, browser=False)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode and str(served.address.port) in done.stderr.splitlines()[-1]


def test_50_a_host_that_is_not_this_machine():
    with pytest.raises(MnistNbError, match=r"cannot listen on port 5000 of 192\.0\.2\.1: .*--port"):
        serve(host="192.0.2.1", browser=False)


def test_50_ipv6_alone_where_there_is_any(home):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        with pytest.raises(MnistNbError, match="cannot listen on port 0 of ::1"):
            serve(host="::1", port=0, browser=False)
        return
    server = Served(host="::1", warm=0)
    try:
        assert server.url == f"http://[::1]:{server.address.port}/" and server.reads()
        listening = [
            each.laddr[0]
            for each in psutil.Process(server.process.pid).net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == ["::1"]
    finally:
        server.stop()


def test_50_whoever_listens_to_all_asks_for_a_token(home):
    server = Served(host="0.0.0.0", warm=0)
    try:
        token = server.address.query.removeprefix("token=")
        assert len(token) > 30 and server.get("/api/health/live", Host="localhost").status == 403
        assert server.get("/api/health/live", Authorization=f"token {token}").status == 200
    finally:
        server.stop()


def test_30_secrets_are_compared_in_constant_time(monkeypatch):
    "Whoever asks is compared by hmac alone, also where lengths differ or letters are beyond ASCII."
    asked = []
    monkeypatch.setattr(
        access.hmac,
        "compare_digest",
        lambda one, other, real=access.hmac.compare_digest: (
            asked.append((one, other)),
            real(one, other),
        )[1],
    )
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"),
        headers=HTTPHeaders({"Host": "localhost", "Authorization": "Bearer wröng"}),
    )
    assert access.check_access(request, "the-secret", "cookie").code == "token_needed"
    assert asked == [
        ("wröng".encode(), b"the-secret"),
        (b"", access.token_cookie("the-secret").encode()),
    ]
