//! The number of threads that models compute with.
//!
//! Candle asks for it at every product of matrices: the variable `RAYON_NUM_THREADS`, and without it
//! the number of cores, for which it reads and parses /proc/cpuinfo each time. Setting the variable
//! from inside a process is unsafe in Rust, so the process begins once more with it.

use std::env;
use std::ffi::OsStr;

/// The variable that Candle and rayon read.
pub const VARIABLE: &str = "RAYON_NUM_THREADS";

/// The value to set the variable to, or `None` if it is set already.
pub fn missing() -> Option<String> {
    let threads = std::thread::available_parallelism().ok()?;
    let is_set = env::var_os(VARIABLE).is_some_and(|value| is_number(&value));
    (!is_set).then(|| threads.to_string())
}

/// Sets the variable unless it is set. This process executes its own program once more, with the same
/// arguments: it keeps its id, its open files and its place below its parent. It must do so before it
/// has a thread or a socket.
///
/// After that the variable is set, so that this happens once.
pub fn set() {
    #[cfg(unix)]
    if let Some(threads) = missing() {
        use std::os::unix::process::CommandExt;

        let mut args = env::args_os();
        let (Ok(program), Some(name)) = (env::current_exe(), args.next()) else {
            return;
        };
        let mut again = std::process::Command::new(program);
        again.arg0(name).args(args).env(VARIABLE, threads);
        // It returns only if it failed, as in a container that forbids it. Then products of matrices
        // are slower, and right.
        let _ = again.exec();
    }
}

/// Candle takes anything else, such as 0, for unset.
fn is_number(value: &OsStr) -> bool {
    let number = value.to_str().and_then(|value| value.parse::<usize>().ok());
    number.is_some_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_above_0_counts_as_set() {
        for (value, expected) in [
            ("1", true),
            ("64", true),
            ("0", false),
            ("", false),
            ("-1", false),
            ("all", false),
        ] {
            assert_eq!(is_number(OsStr::new(value)), expected, "{value}");
        }
    }
}
