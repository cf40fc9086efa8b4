//! The names that a model or a variant can have.
//!
//! A model's name becomes part of a path at the model service, where `..` or a slash would lead
//! elsewhere.

/// Name of the variant of a model service that was given without one.
pub(crate) const PRIMARY: &str = "primary";

const MAX_MODEL_NAME: usize = 128;
pub(crate) const MAX_VARIANT_NAME: usize = 64;

/// Whether a text can name a model, or a version of one.
pub(crate) fn is_model_name(text: &str) -> bool {
    (1..=MAX_MODEL_NAME).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('.')
}

/// Whether a text can name a variant.
pub(crate) fn is_variant_name(text: &str) -> bool {
    text.len() <= MAX_VARIANT_NAME && is_model_name(text)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}
