//! `vxlan`.

fn main() -> std::process::ExitCode {
    cli::vxlan()
}
