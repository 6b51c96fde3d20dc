"""Hosts Switchyard's own server (Rust) until ended: host_switchyard.py CONFIG PORT."""

import signal
import sys

from switchyard_rust.server import Server

with Server(sys.argv[1], int(sys.argv[2])):
    signal.pause()
