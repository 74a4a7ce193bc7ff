"""Work that only the leader does, in Python, with nothing but the standard library.

python3 python.py          ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
                           ELECTORD_TOKEN is the bearer token, where the sidecar has one
"""

import json
import os
import time
import urllib.error
import urllib.request

SIDECAR = os.environ.get("ELECTORD_LOCAL_URL", "http://127.0.0.1:4041")
TOKEN = os.environ.get("ELECTORD_TOKEN")


def ask():
    """The term of this instance as (fencing token, deadline), or None where it does not lead."""
    # Counted from BEFORE asking: the answer may have been long on its way. Never the wall clock.
    asked = time.monotonic()
    question = urllib.request.Request(f"{SIDECAR}/leader?hold=1s")
    if TOKEN:
        question.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        with urllib.request.urlopen(question, timeout=1) as answer:
            leader = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return None  # 503: another leads. No answer: nobody knows, so we do not.
    if not leader["isLeader"]:
        return None
    # Nothing that is planned lets another lead before the hold is over.
    return leader["fencingToken"], asked + leader.get("heldForMs", 0) / 1000


def work(fencing_token):
    # Pass the token on to whatever you write to, which refuses a lower one than it has seen.
    print(f"work done, fencing token {fencing_token}", flush=True)


while True:
    term = ask()
    if term is not None:
        fencing_token, deadline = term
        # Compared right before the work, which must be short against what is left.
        if time.monotonic() < deadline:
            work(fencing_token)
    time.sleep(0.2)
