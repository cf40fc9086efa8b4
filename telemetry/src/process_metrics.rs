//! CPU time and memory of this process, read when metrics are collected.

use cpu_time::ProcessTime;
use opentelemetry::KeyValue;

use crate::attr::metric::{PROCESS_CPU_TIME, PROCESS_MEMORY_USAGE};
use crate::metrics::meter;

/// Registers the observable instruments; the meter provider keeps them. Their callbacks must not
/// panic: that would end the thread that exports all metrics.
pub(crate) fn observe() {
    let meter = meter();
    meter
        .f64_observable_counter(PROCESS_CPU_TIME)
        .with_unit("s")
        .with_description("CPU time of the process, user and system together")
        .with_callback(|observer| {
            if let Ok(time) = ProcessTime::try_now() {
                observer.observe(time.as_duration().as_secs_f64(), &[] as &[KeyValue]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter(PROCESS_MEMORY_USAGE)
        .with_unit("By")
        .with_description("Resident memory of the process")
        .with_callback(|observer| {
            if let Some(bytes) = memory_stats::memory_stats()
                .and_then(|memory| i64::try_from(memory.physical_mem).ok())
            {
                observer.observe(bytes, &[] as &[KeyValue]);
            }
        })
        .build();
}
