//! `vrouter`.

fn main() -> std::process::ExitCode {
    cli::vrouter()
}
