"""The API's document, tried on the real server: what Tornado, WSGI and Flask make of it together,
with trainings that really start.
"""

import tempfile
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.faults.test_api import MAY_REFUSE, few_app
from tests.serving import Served

ENDLESS = "/api/train/events"


@pytest.fixture(scope="module")
def served(module_home):
    "A server with a home of its own."
    server = Served(warm=0)
    yield server
    server.stop()


FOLDER = tempfile.TemporaryDirectory()
DOCUMENT = few_app(Path(FOLDER.name)).test_client().get("/api/openapi.json").json
SERVED = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=ENDLESS)


def test_the_server_has_the_same_document(served):
    assert served.get("/api/openapi.json").json == DOCUMENT | {"servers": [{"url": served.url}]}


@SERVED.parametrize()
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_28_whatever_the_document_allows_through_the_server(served, case):
    """What a schema cannot say, such as that there must be ink in a picture or that one training
    runs already, may be refused all the same.
    """
    starts = case.method == "POST" and case.operation.path in ("/api/train", "/api/train/resume")
    case.call_and_validate(
        served.url.rstrip("/"),
        timeout=60,
        excluded_checks=[positive_data_acceptance]
        if starts or case.operation.path in MAY_REFUSE
        else [],
    )
