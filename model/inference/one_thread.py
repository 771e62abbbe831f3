"""Imported first in the process that workers are forked from, before numpy: they have one thread each."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
