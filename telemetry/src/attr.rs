//! Every attribute, metric and event name that Throughline emits, as constants.
//!
//! Names of the OpenTelemetry semantic conventions (1.44) are re-exported from their crate; the
//! project's own names are here and in `telemetry/registry/`. A test compares the two, with the
//! types and units in parentheses.

pub use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, DB_COLLECTION_NAME, DB_NAMESPACE, DB_OPERATION_BATCH_SIZE, DB_OPERATION_NAME,
    DB_RESPONSE_STATUS_CODE, DB_SYSTEM_NAME, ELASTICSEARCH_NODE_NAME, ERROR_TYPE,
    EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE, HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL, HTTP_REQUEST_RESEND_COUNT, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE,
    NETWORK_PROTOCOL_VERSION, SERVER_ADDRESS, SERVER_PORT, URL_FULL, URL_PATH, URL_QUERY,
    URL_SCHEME, USER_AGENT_ORIGINAL,
};

/// Name of the API key that a request came with, never the key (string).
pub const THROUGHLINE_API_KEY_NAME: &str = "throughline.api_key.name";
/// Name of the model that answered, for example `wine_quality`. On spans and log records (string).
pub const ML_MODEL_NAME: &str = "ml.model_name";
/// Version of the model, a decimal number as text (string).
pub const ML_MODEL_VERSION: &str = "ml.model_version";
/// The training run that made the model: 32 lower-case hex digits (string).
pub const ML_RUN_ID: &str = "ml.run_id";
/// Which variant of the model answered, for example `primary` (string).
pub const ML_VARIANT: &str = "ml.variant";
/// The variant that was chosen first and failed, when another one answers in its place (string).
pub const ML_VARIANT_FAILED: &str = "ml.variant.failed";
/// Whether a variant that timed out repeatedly is waited for: `open` or `half_open` (string).
pub const ML_VARIANT_BREAKER: &str = "ml.variant.breaker";
/// The outcome of a shadow's call: `answered`, `failed` or `dropped` (string).
pub const ML_SHADOW_RESULT: &str = "ml.shadow.result";
/// The requested entity; only on spans of single lookups (string).
pub const ML_DATA_ID: &str = "ml.data_id";
/// Rows in one inference call (int).
pub const ML_BATCH_SIZE: &str = "ml.batch_size";
/// Requests whose rows were computed together (int).
pub const ML_BATCH_REQUESTS: &str = "ml.batch.requests";
/// Name of the data set a model is trained on (string).
pub const ML_DATASET: &str = "ml.dataset";
/// SHA-256 of the file that a model is trained on, lower-case hex (string).
pub const ML_DATASET_SHA256: &str = "ml.dataset_sha256";
/// Learning rate of a training run (double).
pub const ML_LEARNING_RATE: &str = "ml.learning_rate";
/// Share of training rows classified correctly, 0 to 1 (double).
pub const ML_TRAINING_ACCURACY: &str = "ml.training_accuracy";
/// Share of held-out rows classified correctly, 0 to 1 (double).
pub const ML_VALIDATION_ACCURACY: &str = "ml.validation_accuracy";
/// Root of the mean squared error on training rows, in units of the target (double).
pub const ML_TRAINING_RMSE: &str = "ml.training_rmse";
/// Root of the mean squared error on held-out rows, in units of the target (double).
pub const ML_VALIDATION_RMSE: &str = "ml.validation_rmse";
/// Validation accuracy of always answering the most frequent class, 0 to 1 (double).
pub const ML_BASELINE_ACCURACY: &str = "ml.baseline_accuracy";
/// Validation error of always answering the mean, in units of the target (double).
pub const ML_BASELINE_RMSE: &str = "ml.baseline_rmse";
/// Epochs of a training (int).
pub const ML_TRAINING_EPOCHS: &str = "ml.training.epochs";
/// Training rows that an epoch read per second (double).
pub const ML_TRAINING_ROWS_PER_SECOND: &str = "ml.training.rows_per_second";
/// How many processes a training is distributed over (int).
pub const ML_TRAINING_RANKS: &str = "ml.training.ranks";
/// Number of one of these processes, from 0 (int).
pub const ML_TRAINING_RANK: &str = "ml.training.rank";
/// Time that a rank computed before each all-reduce, in seconds (double).
pub const ML_TRAINING_COMPUTE_DURATION: &str = "ml.training.compute.duration";
/// Time that a rank was in all-reduces, most of it waiting for slower ranks, in seconds (double).
pub const ML_TRAINING_ALL_REDUCE_DURATION: &str = "ml.training.all_reduce.duration";
/// Number of a training epoch, from 1 (int).
pub const ML_TRAINING_EPOCH: &str = "ml.training.epoch";
/// The class that was predicted (string).
pub const ML_OUTPUT_LABEL: &str = "ml.output.label";
/// The probability of the predicted class, 0 to 1 (double).
pub const ML_OUTPUT_CONFIDENCE: &str = "ml.output.confidence";
/// The number that was predicted (double).
pub const ML_OUTPUT_VALUE: &str = "ml.output.value";
/// Characters of the texts of a request (int).
pub const ML_INPUT_LENGTH: &str = "ml.input.length";
/// Tokens of the texts of a request (int).
pub const ML_INPUT_TOKENS: &str = "ml.input.tokens";
/// Share of the tokens that the model does not know, 0 to 1 (double).
pub const ML_INPUT_UNKNOWN_SHARE: &str = "ml.input.unknown_share";
/// The text of a request for one, only if the service captures texts (string).
pub const ML_INPUT_TEXT: &str = "ml.input.text";
/// What computes the model: `candle` or `scikit-learn` (string).
pub const ML_FRAMEWORK: &str = "ml.framework";
/// Where the model is computed: `cpu` or `cuda` (string).
pub const ML_DEVICE: &str = "ml.device";
/// A feature (input column) by name; bounded by the model's manifest (string).
pub const ML_FEATURE_NAME: &str = "ml.feature.name";
/// A feature view by name; bounded by the feature store's configuration (string).
pub const ML_FEATURE_VIEW: &str = "ml.feature.view";
/// True on predictions while their version drifts from its training data (boolean).
pub const ML_DRIFT_DETECTED: &str = "ml.drift_detected";
/// How drift of a feature is measured, for example `psi` (string).
pub const ML_DRIFT_METHOD: &str = "ml.drift.method";
/// The outcome of a feature lookup: a status word of Feast, lower case (string).
pub const ML_FEATURE_STATUS: &str = "ml.feature.status";
/// What a cache answered: `hit`, `miss`, or another word listed in the registry (string).
pub const CACHE_RESULT: &str = "ml.cache.result";
/// What became of a prediction that was to be stored: `stored`, `superseded` or `failed` (string).
pub const PREDICTION_STORE_RESULT: &str = "ml.prediction_store.result";
/// What became of a piece of feedback: `counted` or `replaced` (string).
pub const ML_QUALITY_RESULT: &str = "ml.quality.result";
/// Model name on metrics, as dashboards of inference servers group by it (string).
pub const MODEL_NAME: &str = "model.name";
/// Whether an inference succeeded, on metrics (boolean).
pub const SUCCESS: &str = "success";

/// Metric names.
pub mod metric {
    pub use opentelemetry_semantic_conventions::metric::{
        DB_CLIENT_OPERATION_DURATION, HTTP_CLIENT_REQUEST_DURATION, HTTP_SERVER_ACTIVE_REQUESTS,
        HTTP_SERVER_REQUEST_DURATION, PROCESS_CPU_TIME, PROCESS_MEMORY_USAGE,
    };

    /// Inference calls (counter, `{call}`).
    pub const AI_INFERENCE_CALLS: &str = "ai.inference.calls";
    /// Duration of inference calls (histogram, s).
    pub const AI_INFERENCE_LATENCY: &str = "ai.inference.latency";
    /// Probability of the predicted class (histogram, 1).
    pub const ML_PREDICTION_CONFIDENCE: &str = "ml.prediction.confidence";
    /// Predictions by class (counter, `{prediction}`).
    pub const ML_PREDICTION_LABELS: &str = "ml.prediction.labels";
    /// Missing input values by feature (counter, `{value}`).
    pub const ML_INPUT_MISSING: &str = "ml.input.missing";
    /// Input values outside the training range by feature (counter, `{value}`).
    pub const ML_INPUT_OUT_OF_RANGE: &str = "ml.input.out_of_range";
    /// Distance of the last window from the reference, by feature and method (gauge, `1`).
    pub const ML_DRIFT_SCORE: &str = "ml.drift.score";
    /// What a drift score must not exceed, by feature and method (gauge, `1`).
    pub const ML_DRIFT_THRESHOLD: &str = "ml.drift.threshold";
    /// Answered rows that are in no window (counter, `{row}`).
    pub const ML_DRIFT_DROPPED: &str = "ml.drift.dropped";
    /// Predictions requested from the prediction store, by result (counter, `{prediction}`).
    pub const ML_PREDICTION_CACHE_REQUESTS: &str = "ml.prediction_cache.requests";
    /// Predictions that were to be stored, by result (counter, `{prediction}`).
    pub const ML_PREDICTION_STORE_WRITES: &str = "ml.prediction_store.writes";
    /// Share of the last window's true labels that were predicted (gauge, `1`).
    pub const ML_QUALITY_ACCURACY: &str = "ml.quality.accuracy";
    /// Mean confidence of the last window's predictions (gauge, `1`).
    pub const ML_QUALITY_ESTIMATED_ACCURACY: &str = "ml.quality.estimated_accuracy";
    /// Mean absolute error of a regression in its last window (gauge, `1`).
    pub const ML_QUALITY_ABSOLUTE_ERROR: &str = "ml.quality.absolute_error";
    /// Feedback about predictions, by result (counter, `{feedback}`).
    pub const ML_QUALITY_FEEDBACK: &str = "ml.quality.feedback";
    /// Connections closed because the client did not read its answer (counter, `{connection}`).
    pub const ML_SERVER_UNREAD_ANSWERS: &str = "ml.server.unread_answers";
    /// Predictions that failed over to another variant (counter, `{prediction}`).
    pub const ML_VARIANT_FAIL_OVERS: &str = "ml.variant.fail_overs";
    /// 1 while a variant is not waited for, because it timed out repeatedly (gauge, `1`).
    pub const ML_VARIANT_BREAKER_OPEN: &str = "ml.variant.breaker.open";
    /// Calls of shadow variants, by result (counter, `{call}`).
    pub const ML_SHADOW_CALLS: &str = "ml.shadow.calls";
    /// Feature values looked up, by view and status (counter, `{value}`).
    pub const ML_FEATURE_LOOKUPS: &str = "ml.feature.lookups";
    /// Entities requested from the in-process feature cache, by result (counter, `{entity}`).
    pub const ML_FEATURE_CACHE_REQUESTS: &str = "ml.feature_cache.requests";
    /// Training loss of an epoch (gauge, 1).
    pub const ML_TRAINING_LOSS: &str = "ml.training.loss";
    /// Mean L2 norm of the gradients of an epoch (gauge, 1).
    pub const ML_TRAINING_GRADIENT_NORM: &str = "ml.training.gradient_norm";
    /// Held-out accuracy (gauge, 1).
    pub const ML_TRAINING_VALIDATION_ACCURACY: &str = "ml.training.validation_accuracy";
    /// Duration of a training run (histogram, s).
    pub const ML_TRAINING_DURATION: &str = "ml.training.duration";
    /// Spans whose export ended; those with `error.type` were lost (counter, `{span}`).
    pub const SDK_EXPORTER_SPAN_EXPORTED: &str = "otel.sdk.exporter.span.exported";
    /// Log records whose export ended; those with `error.type` were lost (counter, `{log_record}`).
    pub const SDK_EXPORTER_LOG_EXPORTED: &str = "otel.sdk.exporter.log.exported";
}
