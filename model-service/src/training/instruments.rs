//! The metrics of trainings.

use std::sync::LazyLock;

use telemetry::attr;
use telemetry::metrics::{Gauge, Histogram, gauge, histogram};

pub(super) static LOSS: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    gauge(
        attr::metric::ML_TRAINING_LOSS,
        "1",
        "Training loss of an epoch",
    )
});
pub(super) static GRADIENT_NORM: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    gauge(
        attr::metric::ML_TRAINING_GRADIENT_NORM,
        "1",
        "Mean L2 norm of the gradients of an epoch",
    )
});
pub(super) static VALIDATION_ACCURACY: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    gauge(
        attr::metric::ML_TRAINING_VALIDATION_ACCURACY,
        "1",
        "Accuracy on the held-out rows",
    )
});
pub(super) static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let boundaries = vec![
        0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    ];
    histogram(
        attr::metric::ML_TRAINING_DURATION,
        "s",
        "Duration of a training run",
        boundaries,
    )
});
