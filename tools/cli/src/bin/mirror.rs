//! `mirror`.

fn main() -> std::process::ExitCode {
    cli::mirror()
}
