//! The stable codes of failed requests. One fault has one code, in every service and in both
//! languages.
//!
//! The Python worker has its part of them in `throughline_worker/error_codes.py`; a test compares
//! the two lists.

/// Declares an enum whose variants are words of a protocol.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in bodies, in `error.type` and in problem types.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The code of a word; `None` for a word of a later release or of another server.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

pub(crate) use codes;

codes! {
    /// Why a request failed as a whole.
    ErrorCode {
        /// The body cannot be read.
        BadRequest = "bad_request",
        /// The body can be read and asks for something impossible.
        InvalidRequest = "invalid_request",
        /// The body is larger than the limit.
        TooLarge = "too_large",
        /// The batch has more rows than the limit.
        TooManyRows = "too_many_rows",
        /// The content coding of the body is not supported.
        UnsupportedEncoding = "unsupported_encoding",
        /// The header `Host` is missing or not valid.
        InvalidHost = "invalid_host",
        /// The service does not answer to the name in `Host`.
        UnknownHost = "unknown_host",
        /// A web page of another origin sent the request.
        CrossOrigin = "cross_origin",
        /// The request has no API key that is known.
        Unauthenticated = "unauthenticated",
        /// The API key of the request is used more than its limits allow.
        RateLimited = "rate_limited",
        /// The body did not arrive in time.
        BodyTimeout = "body_timeout",
        /// The path does not exist.
        UnknownPath = "unknown_path",
        /// The path does not take this method.
        MethodNotAllowed = "method_not_allowed",
        /// The model does not exist.
        UnknownModel = "unknown_model",
        /// The version of the model does not exist.
        UnknownVersion = "unknown_version",
        /// The variant of the model does not exist or does not answer.
        UnknownVariant = "unknown_variant",
        /// None of the entities exists.
        UnknownEntity = "unknown_entity",
        /// The features of the entity are older than the feature view allows.
        OutsideMaxAge = "outside_max_age",
        /// The entity lacks features that the model needs.
        MissingFeatures = "missing_features",
        /// A feature of the entity is too large for the model to compute with.
        OutOfRange = "out_of_range",
        /// A feature of the entity is a category that the model was not trained on.
        UnknownCategory = "unknown_category",
        /// The text has no word.
        EmptyText = "empty_text",
        /// The text is longer than the model service takes.
        TextTooLong = "text_too_long",
        /// The text is not UTF-8.
        InvalidText = "invalid_text",
        /// The model knows no word of the text.
        UnknownWords = "unknown_words",
        /// No stored prediction answers, and the client allows only stored ones.
        NotCached = "not_cached",
        /// No prediction of this text is stored, and its id is not enough to compute one.
        TextNotStored = "text_not_stored",
        /// No prediction of this entity is stored, so that none can be judged.
        PredictionNotStored = "prediction_not_stored",
        /// The gateway remembers no prediction of this trace.
        UnknownTrace = "unknown_trace",
        /// The trace has several predictions, and which one is meant is not said.
        AmbiguousTrace = "ambiguous_trace",
        /// The label is none of the model's classes.
        UnknownLabel = "unknown_label",
        /// A label was given for a number, or a number for a class.
        WrongTruth = "wrong_truth",
        /// The model gave no prediction for this row, for a reason without a code.
        PredictionFailed = "prediction_failed",
        /// None of the entities has a prediction, for different reasons.
        NoneSucceeded = "none_succeeded",
        /// The model version exists and cannot be served.
        ModelNotReady = "model_not_ready",
        /// The service was not started with `--allow-model-control`.
        ModelControlOff = "model_control_off",
        /// The service stops and cannot wait for the answer any longer.
        Draining = "draining",
        /// The service takes no requests now.
        NotReady = "not_ready",
        /// As many requests as allowed are in flight, or waiting for the model.
        Overloaded = "overloaded",
        /// As many requests as allowed wait for the model; stored predictions are still answered.
        ModelBusy = "model_busy",
        /// The deadline of the request has passed.
        DeadlinePassed = "deadline_passed",
        /// The feature store cannot be reached.
        FeatureStoreUnavailable = "feature_store_unavailable",
        /// The prediction store cannot be reached.
        StoreUnavailable = "store_unavailable",
        /// The model service cannot be reached.
        ModelUnavailable = "model_unavailable",
        /// The model service does not measure drift.
        DriftNotMeasured = "drift_not_measured",
        /// The model service did not answer in time.
        ModelTimeout = "model_timeout",
        /// The model service failed or broke the protocol.
        ModelFailed = "model_failed",
        /// The model service refused the request.
        ModelRefused = "model_refused",
        /// The model failed to compute.
        ComputeError = "compute_error",
        /// A fault that a client asked for.
        FaultInjected = "fault_injected",
        /// A fault of the service itself, such as a bug.
        Internal = "internal",
    }
}
