//! The number of files that the process may have open.

/// Raises the limit to what the system allows: the soft limit of 1,024 that many systems set is
/// used up by as many idle connections.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        let (current, error) = (limit.current, std::io::Error::from(error));
        tracing::warn!(name: "server.file_limit", ?current, %error, "cannot raise the limit of open files");
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_limit() {}

/// The connections that a listener may have: `wanted`, but at most half of the files, since the
/// rest of the process needs some as well.
#[cfg(unix)]
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    half.map_or(wanted, |half| wanted.min(half).max(1))
}

#[cfg(not(unix))]
pub(crate) fn connections(wanted: usize) -> usize {
    wanted
}
