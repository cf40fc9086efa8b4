//! The address of the storage engine on the command line.

use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;

use super::redis::RedisAddress;

/// A file, or the servers of Redis.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Database {
    /// A file of `SQLite`.
    File(PathBuf),
    /// Redis or Valkey.
    Redis(RedisAddress),
    /// An address that cannot be used, and why. Opening it is an error; parsing it is not, because
    /// the message about an invalid argument would repeat it, perhaps with a password.
    Wrong(String),
}

impl FromStr for Database {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        Ok(if path.is_empty() {
            Self::Wrong(
                "the path of the file is missing, as in .throughline/features.db".to_owned(),
            )
        } else if path.contains("://") {
            path.parse().map_or_else(Self::Wrong, Self::Redis)
        } else {
            Self::File(PathBuf::from(path))
        })
    }
}

impl Display for Database {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Redis(address) => address.fmt(formatter),
            Self::Wrong(reason) => reason.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_file_an_address_or_a_reason() {
        let read = |text: &str| {
            text.parse::<Database>()
                .unwrap_or_else(|never| match never {})
        };
        assert_eq!(read("a/b.db"), Database::File("a/b.db".into()));
        assert_eq!(read("sqlite:redis.db"), Database::File("redis.db".into()));
        assert!(matches!(read("redis://cache"), Database::Redis(_)));
        for wrong in [
            "",
            "sqlite:",
            "mysql://u:hunter2@h",
            "redis://u:hunter2@h/x",
        ] {
            let Database::Wrong(reason) = read(wrong) else {
                panic!("{wrong} is used")
            };
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
