//! `vrinfo`.

fn main() -> std::process::ExitCode {
    cli::vrinfo()
}
