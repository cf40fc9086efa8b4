//! Tells the program which commit it is built from, for the resource attribute `vcs.ref.head.revision`.

use std::path::Path;
use std::process::Command;

fn main() {
    // A path that is missing would make cargo run this again at every build.
    let log = Path::new("../.git/logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let revision =
        Command::new("git").args(["rev-parse", "HEAD"]).output().ok().filter(|output| output.status.success());
    let revision = revision.and_then(|output| String::from_utf8(output.stdout).ok());
    // Outside a checkout there is no revision, and the attribute stays off.
    println!("cargo::rustc-env=THROUGHLINE_REVISION={}", revision.as_deref().map_or("", str::trim));
}
