//! Which variant of a model answers, and where it is served.
//!
//! Today every model has the one variant `primary`. Weights are here already, because what is chosen is asked for in one
//! place only: a split of the traffic changes this file.

use url::Url;

/// The name of the variant that serves every model.
pub(crate) const PRIMARY: &str = "primary";

/// One way to serve a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Name, as in answers and in `ml.variant`.
    pub name: String,
    /// Base address of the model service.
    pub service: Url,
    /// Share of the traffic, relative to the other variants of the model.
    pub weight: u32,
}

/// The variants of every model.
#[derive(Clone, Debug)]
pub struct Routes {
    fallback: [Variant; 1],
}

impl Routes {
    /// One service for all models.
    pub fn single(service: Url) -> Self {
        Self { fallback: [Variant { name: PRIMARY.to_owned(), service, weight: 1 }] }
    }

    /// The variants of a model.
    pub fn variants(&self, _model: &str) -> &[Variant] {
        &self.fallback
    }

    /// The variant that answers a request for this model.
    pub fn choose(&self, _model: &str) -> &Variant {
        let [variant] = &self.fallback;
        variant
    }

    /// Where to ask for what is not about one model, such as the list of models.
    pub fn default_variant(&self) -> &Variant {
        let [variant] = &self.fallback;
        variant
    }
}
