//! `vifdump`: tcpdump on an interface of the vRouter (reference cli.md section 16).
//!
//! A monitoring interface, which the dataplane gives a TAP named `mon<n>`, gets copies of everything the interface
//! receives and sends; tcpdump listens on that. It goes when tcpdump ends, however that is.

mod capture;
mod stop;

use std::path::PathBuf;
use std::process::ExitCode;

use api::{Client, VifId};

use crate::description::Description;
use crate::options::{Number, Offer, Shown, Takes, is_digits};

/// Every failure.
const FAILED: u8 = 1;

/// The command `vifdump`.
pub fn vifdump() -> ExitCode {
    let mut arguments: Vec<String> =
        std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let mut directory = api::default_directory();
    while let ["--sock-dir", given, ..] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        directory = PathBuf::from(given);
        arguments.drain(..2);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["stop", id] => connect(&directory).and_then(|client| stop::run(client, id)),
        [] | ["stop", ..] | ["--help"] => {
            print!("{}", description().usage());
            return ExitCode::from(FAILED);
        }
        ["-i", vif, ref rest @ ..] | [vif, ref rest @ ..] => {
            connect(&directory).and_then(|client| capture::run(client, vif, rest))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            println!("vifdump error: {words}");
            ExitCode::from(FAILED)
        }
    }
}

/// A connection, or what there is to say.
fn connect(directory: &std::path::Path) -> Result<Client, String> {
    let name = concat!("vifdump ", env!("CARGO_PKG_VERSION"));
    Client::connect(directory, name).map_err(|error| error.to_string())
}

/// `vif0/<n>` or `<n>`.
fn index(text: &str) -> Option<VifId> {
    let digits = text.strip_prefix("vif0/").unwrap_or(text);
    is_digits(digits).then(|| VifId(Number::read(digits).index()))
}

/// Its face to people and shells.
pub(crate) fn description() -> Description {
    let shown = |long, short, takes, help| Shown { long, short, takes, help };
    let value = |name, offer| Takes::Value { name, offer };
    Description {
        words: &[],
        name: "vifdump",
        about: "tcpdump on an interface of the vRouter",
        synopsis: &[
            "[--sock-dir DIR] [-i] VIF [TCPDUMP ARGUMENT]..",
            "[--sock-dir DIR] stop VIF|monN",
        ],
        options: vec![
            shown("", "i", value("VIF", Offer::Nothing), "the interface, as vif0/3 or 3"),
            shown(
                "sock-dir",
                "",
                value("DIR", Offer::Directory),
                "directory of vrouterd.sock (VROUTER_SOCK_DIR, else /run/vrouter)",
            ),
            shown("help", "", Takes::Nothing, "this text"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_named_with_and_without_router() {
        assert_eq!(index("vif0/37"), Some(VifId(37)));
        assert_eq!(index("37"), Some(VifId(37)));
        assert_eq!(index("vif1/37"), None);
        assert_eq!(index("-1"), None);
    }
}
