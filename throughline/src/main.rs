//! The `throughline` program; everything is in the library, so that the end-to-end tests run the same code.

fn main() -> std::process::ExitCode {
    throughline::main()
}
