//! The `throughline` program. The code is in the library, so that the end-to-end tests run the
//! same.

fn main() -> std::process::ExitCode {
    throughline::main()
}
