//! The program that the end-to-end tests start: `throughline` itself, built together with them.

fn main() -> std::process::ExitCode {
    throughline::main()
}
