//! `dpdkinfo`.

fn main() -> std::process::ExitCode {
    cli::dpdkinfo()
}
