//! `vrmemstats`.

fn main() -> std::process::ExitCode {
    cli::vrmemstats()
}
