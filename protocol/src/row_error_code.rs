//! The stable codes of rows that have no prediction while other rows of the same batch may have
//! one.

use crate::ErrorCode;
use crate::error_code::codes;

codes! {
    /// Why one row of a batch has no prediction: the words of the output `error`.
    RowErrorCode {
        /// The feature store does not know the entity.
        UnknownEntity = "unknown_entity",
        /// Its features are older than the feature view allows.
        OutsideMaxAge = "outside_max_age",
        /// At least one feature is null or not a number.
        MissingFeatures = "missing_features",
        /// A feature, a step of the computation or a result is beyond the finite f32 numbers.
        OutOfRange = "out_of_range",
        /// A feature is a category that the model was not trained on.
        UnknownCategory = "unknown_category",
        /// The text has no word.
        EmptyText = "empty_text",
        /// The text is longer than the model service takes.
        TextTooLong = "text_too_long",
        /// The text is not UTF-8.
        InvalidText = "invalid_text",
        /// The model knows no word of the text.
        UnknownWords = "unknown_words",
    }
}

impl From<RowErrorCode> for ErrorCode {
    fn from(code: RowErrorCode) -> Self {
        match code {
            RowErrorCode::UnknownEntity => Self::UnknownEntity,
            RowErrorCode::OutsideMaxAge => Self::OutsideMaxAge,
            RowErrorCode::MissingFeatures => Self::MissingFeatures,
            RowErrorCode::OutOfRange => Self::OutOfRange,
            RowErrorCode::UnknownCategory => Self::UnknownCategory,
            RowErrorCode::EmptyText => Self::EmptyText,
            RowErrorCode::TextTooLong => Self::TextTooLong,
            RowErrorCode::InvalidText => Self::InvalidText,
            RowErrorCode::UnknownWords => Self::UnknownWords,
        }
    }
}
