"""A pytest plugin: the tests that use httpbin, with the one that runs at HTTPBIN_URL.

It writes a JSON object of their outcomes to the file that OUTCOMES names.
"""

import json
import os
import pathlib

import pytest


class Elsewhere:
    url = os.environ["HTTPBIN_URL"]


@pytest.fixture
def httpbin():
    return Elsewhere


def pytest_collection_modifyitems(config, items):
    # A relay has no TLS of its own, so what needs a server with TLS has no way through it.
    chosen = [
        item
        for item in items
        if "httpbin" in item.fixturenames and "httpbin_secure" not in item.fixturenames
    ]
    left = [item for item in items if item not in chosen]
    config.hook.pytest_deselected(items=left)
    items[:] = chosen


outcomes = {}


def pytest_runtest_logreport(report):
    # A test that passes has a report of each phase; what did not pass is the news.
    outcome = "xfailed" if hasattr(report, "wasxfail") and report.skipped else report.outcome
    if report.when == "call" or outcome != "passed":
        outcomes[report.nodeid] = outcome


def pytest_sessionfinish():
    pathlib.Path(os.environ["OUTCOMES"]).write_text(json.dumps(outcomes))
