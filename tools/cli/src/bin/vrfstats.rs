//! `vrfstats`.

fn main() -> std::process::ExitCode {
    cli::vrfstats()
}
