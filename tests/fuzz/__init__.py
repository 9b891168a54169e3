"""Fuzzing by coverage: whatever a stranger, an S3 server or a bad disk can hand to the seeder.

    python -m tests.fuzz --minutes 15         # every target; finds go into tests/fuzz/corpus/
    python -m tests.fuzz --target bencode --seconds 30
    python -m tests.fuzz --target bencode FILE         # one input, without Atheris

A target (`targets/`) takes bytes, drives one part of the seeder with them and asserts what has to
hold: only documented errors come out, what was read can be written again, nothing grows or takes
longer than the input allows. `inputs.py` has what every target is given without a fuzzer: seeds,
the corpus, and both of them blown up. Atheris (`pip install -e .[fuzz]`) finds new inputs.
"""
