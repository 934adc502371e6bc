//! `vif`.

fn main() -> std::process::ExitCode {
    cli::vif()
}
