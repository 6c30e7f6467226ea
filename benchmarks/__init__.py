"""Benchmarks of fastfit against scikit-learn and its peers.

``bench_<family>.py`` holds the table of a family's workloads. The table is used twice: by pytest-benchmark
(``pytest benchmarks --benchmark-enable``; in plain ``pytest`` as a smoke run at a tiny size), and by
``python -m benchmarks [FAMILY ...]``, which lets the libraries take turns and prints a table of ratios.
"""
