//! `flow`.

fn main() -> std::process::ExitCode {
    cli::flow()
}
