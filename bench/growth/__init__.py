"""The tables of bench/scale.py, one file each."""
