//! Differences of small sets of traces, and the formulas on values computed by hand.

mod formulas;
mod groups;
