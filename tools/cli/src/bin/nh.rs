//! `nh`.

fn main() -> std::process::ExitCode {
    cli::nh()
}
