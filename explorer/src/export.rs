//! A trace for other tools, and for people without the explorer.

mod perfetto;

pub use perfetto::perfetto;
