//! `rt`.

fn main() -> std::process::ExitCode {
    cli::rt()
}
