"""Mutants of the product: small faults, which tests should find. They show what a deletion of tests or code loses.

    .venv/bin/python -m pip install coverage pytest-cov cosmic-ray
    .venv/bin/python -m tests.support.mutants --out FOLDER --commit COMMIT
    .venv/bin/python -m tests.support.mutants --out OTHER --commit LATER --against FOLDER/results.jsonl

The first command checks COMMIT out into FOLDER, runs its short tests under coverage.py, one run a folder of tests, draws
mutants of the lines that tests run, and runs each mutant against at most 40 of the tests that run its line.

The second one runs the killed mutants again in a later commit, where it finds them by function and line: against those
of their tests that are left, then the short tests of the folder that mirrors the file. It prints which mutants survive.

Each can be interrupted and called again, and `--table` prints what is known so far. Lines that only subprocesses run have no
mutants. A test that fails without the mutant, too, is named as flaky and kills none.
"""
