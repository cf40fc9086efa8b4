"""The parts of bench/paths.py: what is asked, who answers, and what that costs."""
