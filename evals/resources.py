"""Runs a command, prints its wall time and peak memory, and fails over a bound.

    python3 evals/resources.py --max-seconds 180 --max-mib 1024 -- COMMAND ARG...

Peak memory is the largest resident set of the command and its children, as the kernel counts it.
The bounds are the promise of the README; they are wide, since machines are noisy.
"""

import argparse
import resource
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--max-seconds", type=float, required=True)
parser.add_argument("--max-mib", type=float, required=True)
parser.add_argument("command", nargs=argparse.REMAINDER)
arguments = parser.parse_args()
command = [word for word in arguments.command if word != "--"]

start = time.monotonic()
code = subprocess.call(command)
seconds = time.monotonic() - start
mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{seconds:.1f} s, peak {mib:.0f} MiB, exit code {code}", flush=True)
if code != 0:
    sys.exit(code)
if seconds > arguments.max_seconds or mib > arguments.max_mib:
    sys.exit(f"over the bound of {arguments.max_seconds} s or {arguments.max_mib} MiB")
