//! `vrftable`.

fn main() -> std::process::ExitCode {
    cli::vrftable()
}
