"""Runs WebSocket conformance cases against a server, and prints one JSON object of their results.

Usage: websocket_cases.py ADDRESS CASE...
"""

import asyncio
import hashlib
import json
import os
import sys

from kosoku import FailureError, run_fuzzingclient

# Two cases at a time: most of their time is waiting.
AT_A_TIME = 2


async def run(address, cases):
    try:
        return await run_fuzzingclient(address, cases, concurrency=AT_A_TIME)
    except FailureError as failure:
        return failure.results


def result(case):
    return {
        "behavior": case.behavior.value,
        "close": case.behavior_close.value,
        "code": case.remote_close_code,
        "reason": case.remote_close_reason,
        "clean": case.was_clean,
        "received": digest(case.received),
    }


def digest(events):
    """Large messages would fill the report."""
    return hashlib.sha256(repr(events).encode()).hexdigest()


results = asyncio.run(run(sys.argv[1], sys.argv[2:]))
print(json.dumps({case.case_id: result(case) for case in results}))
sys.stdout.flush()
# The native runner sometimes aborts while the interpreter shuts down; there is nothing left to do.
os._exit(0)
