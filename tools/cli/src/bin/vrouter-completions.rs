//! `vrouter-completions`.

fn main() -> std::process::ExitCode {
    cli::completions()
}
