"""The parts that bench/paths.py and bench/scale.py share: what is asked, who answers, and what that costs."""
