"""What a client does that no schema says: a request that is not a repeat has an Idempotency-Key of its own."""

import itertools

import schemathesis

HEADER = "Idempotency-Key"
COUNT = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keys that could not be one stay, so that they are refused; those that could are told apart."""
    key = (case.headers or {}).get(HEADER)
    if isinstance(key, str) and 1 <= len(key.strip()) and len(key) <= 200:
        case.headers[HEADER] = f"{next(COUNT):08}{key.strip()[8:]}"
