//! `mpls`.

fn main() -> std::process::ExitCode {
    cli::mpls()
}
