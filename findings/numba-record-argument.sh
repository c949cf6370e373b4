#!/usr/bin/env bash
# numba: a record as an argument costs each call the more, the more fields its type has; an array of one record does not.
#
# Expected: a record (numpy.void) reaches a compiled function as a pointer, so a call costs the same whatever is in it.
# Seen:     a call with a record of 200 nested fields takes 20 times as long and more as one with `array[:1]` of the same
#           memory, which takes the same for any type. numba asks the record for its buffer (PEP 3118), and numpy writes a
#           text that describes every field each time it is asked.
# Versions: numba 0.68.1, numpy 2.4.6, Python 3.11.
# Trinity:  hands the feeds' compiled code arrays of one record (feeds/ingest/intake.py), and the request loop one pointer
#           (trinity/compiled/reference.py); the consensus pays it once in a tenth of a second.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6

cat >"$folder/record.py" <<'EOF'
import statistics
import time

import numba
import numpy as np


@numba.njit
def of_record(record):
    return record["first"]


@numba.njit
def of_array(records):
    return records[0]["first"]


def us_a_call(function, argument):
    function(argument)
    turns = []
    for _ in range(31):
        started = time.perf_counter_ns()
        for _ in range(200):
            function(argument)
        turns.append((time.perf_counter_ns() - started) / 200 / 1_000)
    return statistics.median(turns)


took = {}
for count in (1, 200):
    inner = np.dtype([(f"field_{i}", np.int64) for i in range(4)])
    records = np.zeros(1, dtype=np.dtype([("first", np.int64), *((f"part_{i}", inner) for i in range(count))]))
    took[count] = us_a_call(of_record, records[0]), us_a_call(of_array, records)
    print(f"{count} nested fields: a record {took[count][0]:.2f} us a call, an array of one {took[count][1]:.2f} us")
as_described = took[200][0] > 10 * took[200][1] and took[200][0] > 5 * took[1][0] and took[200][1] < 3 * took[1][1]
raise SystemExit(0 if as_described else 1)
EOF
"$folder/venv/bin/python" "$folder/record.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   1 nested fields: a record 2.07 us a call, an array of one 0.46 us
#   200 nested fields: a record 79.58 us a call, an array of one 0.82 us
