"""Limits numpy to one thread. The process that workers are forked from imports this module before numpy."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
