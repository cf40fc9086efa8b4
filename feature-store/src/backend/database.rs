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
        let file = text.strip_prefix("sqlite:");
        let path = file.unwrap_or(text);
        Ok(if path.is_empty() {
            Self::Wrong(
                "the path of the file is missing, as in .throughline/features.db".to_owned(),
            )
        } else if path.contains("://") {
            path.parse().map_or_else(Self::Wrong, Self::Redis)
        } else if file.is_none() && resembles_address(path) {
            // As a file it would have the password in its name.
            Self::Wrong(
                "an address of Redis begins with redis:// or rediss://, and a file with such a name is sqlite:PATH"
                    .to_owned(),
            )
        } else {
            Self::File(PathBuf::from(path))
        })
    }
}

/// An address whose scheme is missing or damaged: `redis:user@host`, `user:password@host`.
fn resembles_address(text: &str) -> bool {
    let scheme = ["redis", "valkey", "unix"]
        .iter()
        .any(|name| text.starts_with(name))
        && text.contains(':');
    let user = text
        .split_once('@')
        .is_some_and(|(user, _)| user.contains(':') && !user.starts_with(['/', '.']));
    scheme || user
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
        assert_eq!(read("redis.db"), Database::File("redis.db".into()));
        assert_eq!(read("sqlite:a:b@c"), Database::File("a:b@c".into()));
        assert_eq!(read("/a:b@c"), Database::File("/a:b@c".into()));
        assert!(matches!(read("redis://cache"), Database::Redis(_)));
        for wrong in [
            "",
            "sqlite:",
            "mysql://u:hunter2@h",
            "redis://u:hunter2@h/x",
            "redis:u:hunter2@h",
            "redis:/u:hunter2@h",
            "rediss:hunter2@h",
            "u:hunter2@h:6379",
            ":hunter2@h",
            "redis://u:1/hunter2@h",
            "redis://u:1?hunter2@h",
            "redis://u:hunter2#x@h",
            "u:hunter2@redis://h",
            "redis://u:hunter2%zz@h:port",
            "redis://h?protocol=hunter2",
            "redis://h/hunter2",
            "unix:///s?db=hunter2",
            "unix+cluster://u:hunter2@h",
        ] {
            let Database::Wrong(reason) = read(wrong) else {
                panic!("{wrong} is used")
            };
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
