//! What filters mean, and that the way that reads little finds the same as the one that reads all.

mod examples;
mod oracle;
mod parse;
