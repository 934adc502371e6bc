//! From arguments to exit status: what all tools do in the same way.
//!
//! Standard output gets everything, errors too; standard error only what `getopt` would say (reference cli.md section
//! 1.2). Where the original fails silently, the reason is given on standard error only to a person at a terminal, so
//! that scripts see the original's bytes.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use api::{ApiError, Client, ClientError, ErrorCode, Op, Rows, Table};

use crate::description::Description;
use crate::json;
use crate::options::{Common, Complaint, Format, Given, Opt, common_options, parse};

/// What differs between tools.
pub(crate) struct Tool<T: 'static> {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) about: &'static str,
    /// The ways to call it, without its name.
    pub(crate) synopsis: &'static [&'static str],
    /// Its options.
    pub(crate) options: &'static [Opt<T>],
    /// The short letters of `--sock-dir`.
    pub(crate) sock_dir: &'static str,
    /// Exit status of usage and bad options.
    pub(crate) usage_status: u8,
    /// Exit status without a connection.
    pub(crate) lost_status: u8,
    /// The work.
    pub(crate) run: fn(&Given<T>, &mut Session<'_>) -> Result<(), Failure>,
}

impl<T: Copy> Tool<T> {
    /// Its face to people and shells.
    pub(crate) fn description(&self) -> Description {
        let own = self.options.iter().map(Opt::shown);
        let common = common_options(self.sock_dir);
        let options = own.chain(common.iter().map(Opt::shown)).collect();
        let (name, about, synopsis) = (self.name, self.about, self.synopsis);
        Description { name, about, synopsis, words: &[], options }
    }
}

/// Why a tool ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The options do not fit together: usage.
    Usage,
    /// A line of explanation, then the usage.
    Explained(String),
    /// A line of explanation and this status.
    Ended(String, u8),
    /// The daemon refused, or is not there.
    Client(ClientError),
    /// Standard output is gone.
    Output,
    /// Everything is said; this status.
    Said(u8),
}

impl Failure {
    /// What cannot even be asked for is refused as the daemon would.
    pub(crate) fn invalid(object: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::Client(ClientError::Refused(ApiError::new(ErrorCode::Invalid, object, message)))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Failure {
        Failure::Output
    }
}

/// What a verb works with.
pub(crate) struct Session<'a> {
    /// What every tool can be told.
    pub(crate) common: Common,
    name: &'static str,
    out: &'a mut dyn Write,
}

impl Session<'_> {
    /// A connection to the daemon.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let name = format!("{} {}", self.name, env!("CARGO_PKG_VERSION"));
        Ok(Client::connect(&self.common.directory, &name)?)
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.common.format == Format::Json
    }

    /// Prints as it is.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Prints in text mode only.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        if self.json() { Ok(()) } else { self.print(text) }
    }

    /// Where to print to.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Shows what has been printed so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// What a change by hand says when it is done: nothing, as the original.
    pub(crate) fn done(&mut self) -> Result<(), Failure> {
        if self.json() { self.print("{}\n") } else { Ok(()) }
    }

    /// Changes the model by hand.
    pub(crate) fn operate(&mut self, ops: Vec<Op>) -> Result<(), Failure> {
        self.connect()?.operate(ops)?;
        self.done()
    }

    /// Prints rows that were looked up.
    pub(crate) fn show(
        &mut self,
        rows: &Rows,
        render: impl Fn(&Rows) -> String,
    ) -> Result<(), Failure> {
        if !self.json() {
            return self.print(&render(rows));
        }
        let mut list = json::List::begin();
        list.rows(self.out, rows)?;
        Ok(list.end(self.out)?)
    }

    /// Prints a whole table, page by page.
    pub(crate) fn dump(
        &mut self,
        client: &mut Client,
        table: Table,
        render: impl Fn(&Rows) -> String,
    ) -> Result<(), Failure> {
        let mut list = json::List::begin();
        for page in client.pages(table) {
            let rows = page?.rows;
            match self.common.format {
                Format::Json => list.rows(self.out, &rows)?,
                Format::Text => self.print(&render(&rows))?,
            }
        }
        if self.json() {
            list.end(self.out)?;
        }
        Ok(())
    }
}

/// Runs a tool with the arguments of the process.
pub(crate) fn main<T: Copy>(tool: &Tool<T>) -> ExitCode {
    main_with(tool, std::env::args_os().skip(1))
}

/// The same with arguments of its own.
pub(crate) fn main_with<T: Copy>(
    tool: &Tool<T>,
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut status = run(tool, arguments, &mut out);
    if out.flush().is_err() && status == 0 {
        status = 1;
    }
    ExitCode::from(status)
}

fn run<T: Copy>(
    tool: &Tool<T>,
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
    out: &mut dyn Write,
) -> u8 {
    let (common, given) = match parse(arguments, tool.options, tool.sock_dir) {
        Ok(parsed) => parsed,
        Err(Complaint(words)) => {
            if let Some(words) = words {
                eprintln!("{}: {words}", tool.name);
            }
            return usage(tool, out);
        }
    };
    let format = common.format;
    let mut session = Session { common, name: tool.name, out };
    let Err(failure) = (tool.run)(&given, &mut session) else { return 0 };
    conclude(tool, failure, format, out)
}

fn usage<T: Copy>(tool: &Tool<T>, out: &mut dyn Write) -> u8 {
    let _ = out.write_all(tool.description().usage().as_bytes());
    tool.usage_status
}

/// The status of `flow` when it is refused.
const FLOW_REFUSED: u8 = 254;

/// Says what went wrong and chooses the status. Nothing can be done about an output that is gone.
fn conclude<T: Copy>(tool: &Tool<T>, failure: Failure, format: Format, out: &mut dyn Write) -> u8 {
    match failure {
        Failure::Usage => usage(tool, out),
        Failure::Explained(line) => {
            let _ = writeln!(out, "{line}");
            usage(tool, out)
        }
        Failure::Ended(line, status) => {
            let _ = writeln!(out, "{line}");
            status
        }
        Failure::Output => 1,
        Failure::Said(status) => status,
        Failure::Client(ClientError::Refused(refusal)) => {
            let (text, status) = match (tool.name, format) {
                // The one that says it in its own way (reference cli.md section 1.3).
                ("flow", Format::Text) => {
                    (format!("response_process: {}\n", refusal.code.text()), FLOW_REFUSED)
                }
                ("flow", Format::Json) => (refused(&refusal, format), FLOW_REFUSED),
                _ => (refused(&refusal, format), 0),
            };
            let _ = out.write_all(text.as_bytes());
            status
        }
        Failure::Client(error) => {
            if format == Format::Json {
                let _ = out.write_all(json::lost(&error).as_bytes());
            } else if tool.name == "vif" {
                let _ = writeln!(
                    out,
                    "Error registering NetLink client: {}",
                    system_text(error.errno())
                );
            }
            if io::stderr().is_terminal() {
                let _ = out.flush();
                eprintln!("{}: {error}", tool.name);
            }
            tool.lost_status
        }
    }
}

/// The line that stands for a missing entry or another refusal (reference cli.md section 1.3).
pub(crate) fn refused(refusal: &ApiError, format: Format) -> String {
    match format {
        Format::Json => json::refused(refusal),
        Format::Text => {
            format!("vRouter(Response): {} ({})\n", refusal.code.text(), refusal.code.errno())
        }
    }
}

/// `strerror` and the number in parentheses.
pub(crate) fn system_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    format!("{} ({errno})", text.split(" (os error").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_strerror_says() {
        assert_eq!(system_text(2), "No such file or directory (2)");
        assert_eq!(system_text(34), "Numerical result out of range (34)");
    }
}
