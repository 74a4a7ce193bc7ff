"""Work that only the leader does, in Python, with nothing but the standard library.

python3 python.py          ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
"""

import json
import os
import time
import urllib.error
import urllib.request

SIDECAR = os.environ.get("ELECTORD_LOCAL_URL", "http://127.0.0.1:4041")


def ask():
    """The term of this instance as (fencing token, deadline), or None where it does not lead."""
    # Counted from BEFORE asking: the answer may have been long on its way. Never the wall clock.
    asked = time.monotonic()
    try:
        with urllib.request.urlopen(f"{SIDECAR}/leader", timeout=1) as answer:
            leader = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return None  # 503: another leads. No answer: nobody knows, so we do not.
    if not leader["isLeader"]:
        return None
    return leader["fencingToken"], asked + leader["validForMs"] / 1000


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
