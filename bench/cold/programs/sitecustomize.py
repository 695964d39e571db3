"""Imported by every interpreter that has this folder on its path: notes when it was ready to run its program."""

import os
import time

os.environ["COLD_INTERPRETER_NS"] = str(time.monotonic_ns())
