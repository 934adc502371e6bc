//! `dropstats`.

fn main() -> std::process::ExitCode {
    cli::dropstats()
}
