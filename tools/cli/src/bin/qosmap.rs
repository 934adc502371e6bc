//! `qosmap`.

fn main() -> std::process::ExitCode {
    cli::qosmap()
}
