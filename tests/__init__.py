"""The tests of fastfit; `pytest` at the top of a checkout runs them all."""
