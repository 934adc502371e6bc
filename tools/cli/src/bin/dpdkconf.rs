//! `dpdkconf`.

fn main() -> std::process::ExitCode {
    cli::dpdkconf()
}
