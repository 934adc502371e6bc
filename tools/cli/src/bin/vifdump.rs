//! `vifdump`.

fn main() -> std::process::ExitCode {
    cli::vifdump()
}
