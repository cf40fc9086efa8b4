//! The arithmetic against golden values, the promise on false alarms, and the monitor.

mod arithmetic;
mod monitor;
mod promise;
