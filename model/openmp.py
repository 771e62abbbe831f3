"""Lets PyTorch's threads sleep while they wait for work. Whatever imports PyTorch imports this module first.

OpenMP reads the variable once, when its library is loaded. By default its threads wait in a loop that keeps their cores busy.
If other programs want these cores, each parallel part of a network then waits for a thread that the system has put aside. A
value that the user has set stays. Child processes inherit it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
