//! Options as GNU `getopt_long` reads them (reference cli.md section 1.4): `--name value` or `--name=value`, unique
//! prefixes of long names, short options with the value attached or not, operands anywhere.
//!
//! `lexopt` cuts the arguments; this file adds the tables, the prefixes and the options that every tool has.

use std::ffi::OsString;
use std::path::PathBuf;

/// An option of a tool, known inside it as `T`. Parser, usage and shell completions are made of it.
#[derive(Clone, Copy)]
pub(crate) struct Opt<T> {
    id: T,
    long: &'static str,
    short: &'static str,
    takes: Takes,
    abbreviation: Abbreviation,
    help: &'static str,
}

/// What follows an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value {
        /// Its name in the usage.
        name: &'static str,
        /// What a shell can offer.
        offer: Offer,
    },
}

/// What a shell can offer for a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Nothing.
    Nothing,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A network device.
    Device,
}

/// Options the original does not have must be written out: they may not make its abbreviations ambiguous.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Abbreviation {
    Unique,
    Never,
}

impl<T> Opt<T> {
    /// An option without a value. `short` lists its letters; `long` may be empty; without `help` it is not shown.
    pub(crate) const fn flag(
        id: T,
        long: &'static str,
        short: &'static str,
        help: &'static str,
    ) -> Opt<T> {
        let (takes, abbreviation) = (Takes::Nothing, Abbreviation::Unique);
        Opt { id, long, short, takes, abbreviation, help }
    }

    /// An option with a value of that name.
    pub(crate) const fn valued(
        id: T,
        long: &'static str,
        short: &'static str,
        name: &'static str,
        help: &'static str,
    ) -> Opt<T> {
        let takes = Takes::Value { name, offer: Offer::Nothing };
        Opt { id, long, short, takes, abbreviation: Abbreviation::Unique, help }
    }

    /// The same option, with something to offer for its value.
    pub(crate) const fn offering(self, offer: Offer) -> Opt<T>
    where
        T: Copy,
    {
        let takes = match self.takes {
            Takes::Nothing => Takes::Nothing,
            Takes::Value { name, .. } => Takes::Value { name, offer },
        };
        Opt { takes, ..self }
    }

    /// The same option as one of our own.
    pub(crate) const fn extension(self) -> Opt<T>
    where
        T: Copy,
    {
        Opt { abbreviation: Abbreviation::Never, ..self }
    }

    /// How it is shown.
    pub(crate) fn shown(&self) -> Shown {
        Shown { long: self.long, short: self.short, takes: self.takes, help: self.help }
    }
}

/// An option as people and shells see it.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    /// Its long name, or nothing.
    pub(crate) long: &'static str,
    /// Its letters.
    pub(crate) short: &'static str,
    /// What follows it.
    pub(crate) takes: Takes,
    /// What it does; nothing hides it.
    pub(crate) help: &'static str,
}

/// What every tool can be told.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// Where `vrouterd.sock` is.
    pub(crate) directory: PathBuf,
    /// How to print.
    pub(crate) format: Format,
    /// Whose text to print.
    pub(crate) layout: Layout,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The original's text.
    Text,
    /// The same reply as JSON.
    Json,
}

/// The original's text differs by platform (reference cli.md section 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Interfaces are kernel devices.
    Kernel,
    /// With the layers below an interface.
    Dpdk,
    /// As `Dpdk` without fabric, bond and VLAN lines.
    Vtest,
}

/// Where a Contrail node keeps what its tools have to know.
const AGENT_CONFIGURATION: &str = "/etc/contrail/contrail-vrouter-agent.conf";

impl Layout {
    /// What the node's configuration says (reference cli.md section 1.5); the kernel's without one.
    pub(crate) fn of_this_host() -> Layout {
        std::fs::read_to_string(AGENT_CONFIGURATION)
            .map_or(Layout::Kernel, |text| Layout::in_text(&text))
    }

    /// Key `platform` of section `DEFAULT`.
    fn in_text(text: &str) -> Layout {
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            if let ("DEFAULT", Some(("platform", "dpdk"))) =
                (section, line.split_once('=').map(|(key, value)| (key.trim(), value.trim())))
            {
                return Layout::Dpdk;
            }
        }
        Layout::Kernel
    }
}

/// Arguments that are not understood: the words for stderr, if there are any, before the usage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint(pub(crate) Option<String>);

/// Options in the order given, with their values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Given<T>(pub(crate) Vec<(T, String)>);

impl<T: Copy + PartialEq> Given<T> {
    /// Whether an option was given.
    pub(crate) fn has(&self, wanted: T) -> bool {
        self.0.iter().any(|(id, _)| *id == wanted)
    }

    /// Whether nothing but these was given.
    pub(crate) fn only(&self, allowed: &[T]) -> bool {
        self.0.iter().all(|(id, _)| allowed.contains(id))
    }

    /// The value given last.
    pub(crate) fn last(&self, wanted: T) -> Option<&str> {
        self.each(wanted).last()
    }

    /// All values of an option.
    pub(crate) fn each(&self, wanted: T) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(id, _)| *id == wanted).map(|(_, value)| value.as_str())
    }

    /// The last value as a number.
    pub(crate) fn number(&self, wanted: T) -> Option<Number> {
        self.last(wanted).map(Number::read)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Any<T> {
    Own(T),
    Common(CommonId),
}

/// An option that every tool has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommonId {
    SockDir,
    Json,
    Layout,
    Help,
}

/// The options that every tool has. `sock_dir` lists the short letters of `--sock-dir`.
pub(crate) fn common_options(sock_dir: &'static str) -> [Opt<CommonId>; 4] {
    let directory = "directory of vrouterd.sock (VROUTER_SOCK_DIR, else /run/vrouter)";
    let layout = "text of platform kernel (default), dpdk or vtest";
    [
        Opt::valued(CommonId::SockDir, "sock-dir", sock_dir, "DIR", directory)
            .offering(Offer::Directory),
        Opt::flag(CommonId::Json, "json", "", "the reply as JSON: an array with one row a line")
            .extension(),
        Opt::valued(CommonId::Layout, "layout", "", "LAYOUT", layout)
            .offering(Offer::Words(&["kernel", "dpdk", "vtest"]))
            .extension(),
        Opt::flag(CommonId::Help, "help", "", "this text"),
    ]
}

/// Reads arguments (without the program's name). `sock_dir` lists the short letters of `--sock-dir`. Operands are
/// ignored, as the original does.
pub(crate) fn parse<T: Copy>(
    arguments: impl IntoIterator<Item = OsString>,
    own: &[Opt<T>],
    sock_dir: &'static str,
) -> Result<(Common, Given<T>), Complaint> {
    let mut table: Vec<Opt<Any<T>>> = own.iter().map(|opt| opt.map(Any::Own)).collect();
    table.extend(common_options(sock_dir).map(|opt| opt.map(Any::Common)));
    let mut common = Common {
        directory: api::default_directory(),
        format: Format::Text,
        layout: Layout::of_this_host(),
    };
    let mut given = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(complain)? {
        let opt = match argument {
            lexopt::Arg::Long(name) => resolve(&table, name)?,
            lexopt::Arg::Short(letter) => {
                let known = table.iter().find(|opt| opt.short.contains(letter));
                *known.ok_or_else(|| Complaint(Some(format!("invalid option -- '{letter}'"))))?
            }
            lexopt::Arg::Value(_) => continue,
        };
        let value = match opt.takes {
            Takes::Nothing => String::new(),
            Takes::Value { .. } => parser.value().map_err(complain)?.to_string_lossy().into_owned(),
        };
        match opt.id {
            Any::Own(id) => given.push((id, value)),
            Any::Common(CommonId::SockDir) => common.directory = value.into(),
            Any::Common(CommonId::Json) => common.format = Format::Json,
            Any::Common(CommonId::Layout) => common.layout = layout(&value)?,
            Any::Common(CommonId::Help) => return Err(Complaint(None)),
        }
    }
    Ok((common, Given(given)))
}

impl<T: Copy> Opt<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Opt<U> {
        Opt {
            id: change(self.id),
            long: self.long,
            short: self.short,
            takes: self.takes,
            abbreviation: self.abbreviation,
            help: self.help,
        }
    }
}

fn complain(error: lexopt::Error) -> Complaint {
    Complaint(Some(error.to_string()))
}

fn layout(word: &str) -> Result<Layout, Complaint> {
    match word {
        "kernel" => Ok(Layout::Kernel),
        "dpdk" => Ok(Layout::Dpdk),
        "vtest" => Ok(Layout::Vtest),
        _ => Err(Complaint(Some(format!("--layout is kernel, dpdk or vtest, not '{word}'")))),
    }
}

/// An exact name wins; else the one name that starts so.
fn resolve<T: Copy>(table: &[Opt<T>], name: &str) -> Result<Opt<T>, Complaint> {
    let named = table.iter().filter(|opt| !opt.long.is_empty());
    if let Some(exact) = named.clone().find(|opt| opt.long == name) {
        return Ok(*exact);
    }
    let mut candidates =
        named.filter(|opt| opt.abbreviation == Abbreviation::Unique && opt.long.starts_with(name));
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(*only),
        (None, _) => Err(Complaint(Some(format!("unrecognized option '--{name}'")))),
        (Some(_), Some(_)) => Err(Complaint(Some(format!("option '--{name}' is ambiguous")))),
    }
}

/// A number as `strtol` with base 0 reads it: decimal, `0x` hex or `0` octal; text without digits is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// The value, at the end of the range if it lies outside.
    pub(crate) value: i64,
    /// What the text was like.
    pub(crate) quality: Quality,
}

/// What the text of a number was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// A number and nothing else.
    Clean,
    /// Something else, wholly or behind the number.
    Trailing,
    /// A number that fits nowhere.
    OutOfRange,
}

impl Number {
    /// Reads a text.
    pub(crate) fn read(text: &str) -> Number {
        let text = text.trim_start();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (radix, digits) = base(digits);
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (number, rest) = digits.split_at(end);
        if number.is_empty() {
            return Number { value: 0, quality: Quality::Trailing };
        }
        let Ok(magnitude) = i64::from_str_radix(number, radix) else {
            let value = if negative { i64::MIN } else { i64::MAX };
            return Number { value, quality: Quality::OutOfRange };
        };
        let quality = if rest.is_empty() { Quality::Clean } else { Quality::Trailing };
        Number { value: if negative { -magnitude } else { magnitude }, quality }
    }

    /// The value as an index; what does not fit becomes the last index, which no table has.
    pub(crate) fn index<I: TryFrom<i64> + Bounded>(self) -> I {
        I::try_from(self.value).unwrap_or(I::LAST)
    }
}

/// Unsigned integers that an index is kept in.
pub(crate) trait Bounded {
    /// The largest.
    const LAST: Self;
}

impl Bounded for u8 {
    const LAST: u8 = u8::MAX;
}

impl Bounded for u16 {
    const LAST: u16 = u16::MAX;
}

impl Bounded for u32 {
    const LAST: u32 = u32::MAX;
}

fn base(digits: &str) -> (u32, &str) {
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    match hex {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, rest),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    }
}

/// Digits and nothing else: what `vif` demands of an index.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt<u8>] = &[
        Opt::flag(1, "list", "lb", "all"),
        Opt::valued(2, "get", "g", "INDEX", "one"),
        Opt::flag(3, "get-drop-stats", "", "why"),
        Opt::valued(4, "core", "C", "N", "a core"),
        Opt::flag(5, "clear", "", "zero"),
    ];

    fn read(arguments: &[&str]) -> Result<Vec<(u8, String)>, Complaint> {
        let arguments = arguments.iter().map(OsString::from);
        parse(arguments, TABLE, "s").map(|(_, given)| given.0)
    }

    #[test]
    fn values_come_attached_or_behind_and_operands_are_ignored() {
        let wanted = vec![(2, "3".to_owned()), (4, "-1".to_owned())];
        assert_eq!(read(&["--get", "3", "--core", "-1"]), Ok(wanted.clone()));
        assert_eq!(read(&["x", "--get=3", "y", "-C-1", "z"]), Ok(wanted.clone()));
        assert_eq!(read(&["-g3", "-C", "-1", "--", "--list"]), Ok(wanted));
    }

    #[test]
    fn unique_prefixes_are_names() {
        assert_eq!(read(&["--li"]), Ok(vec![(1, String::new())]));
        assert_eq!(read(&["--l"]), Ok(vec![(1, String::new())]), "our own --layout does not count");
        assert_eq!(read(&["--get-d"]), Ok(vec![(3, String::new())]));
        assert_eq!(
            read(&["--ge", "1"]),
            Err(Complaint(Some("option '--ge' is ambiguous".to_owned())))
        );
        assert_eq!(read(&["--lay", "dpdk"]).unwrap_err().0.unwrap(), "unrecognized option '--lay'");
    }

    #[test]
    fn bad_options_are_complaints() {
        for bad in [&["--get"][..], &["--list=1"], &["-x"], &["--nope"], &["--layout", "win"]] {
            assert!(read(bad).unwrap_err().0.is_some(), "{bad:?}");
        }
        assert_eq!(read(&["--help"]), Err(Complaint(None)));
    }

    #[test]
    fn common_options_are_taken_out() {
        let arguments = ["-s", "/x", "--json", "--layout", "vtest", "-l"].map(OsString::from);
        let (common, given) = parse(arguments, TABLE, "s").unwrap();
        assert_eq!(common.directory, PathBuf::from("/x"));
        assert_eq!((common.format, common.layout), (Format::Json, Layout::Vtest));
        assert_eq!(given.0, [(1, String::new())]);
    }

    #[test]
    fn the_platform_is_what_the_nodes_configuration_says() {
        assert_eq!(Layout::in_text("[DEFAULT]\nplatform = dpdk\n"), Layout::Dpdk);
        assert_eq!(Layout::in_text("[DEFAULT]\nplatform=nic\n"), Layout::Kernel);
        assert_eq!(Layout::in_text("[OTHER]\nplatform=dpdk\n"), Layout::Kernel);
        assert_eq!(Layout::in_text("# platform=dpdk\n"), Layout::Kernel);
    }

    #[test]
    fn numbers_are_read_as_strtol_does() {
        let clean = |value| Number { value, quality: Quality::Clean };
        assert_eq!(Number::read("25"), clean(25));
        assert_eq!(Number::read("0x1F"), clean(31));
        assert_eq!(Number::read("010"), clean(8));
        assert_eq!(Number::read(" -3"), clean(-3));
        assert_eq!(Number::read("0"), clean(0));
        assert_eq!(Number::read("abc"), Number { value: 0, quality: Quality::Trailing });
        assert_eq!(Number::read("12ab"), Number { value: 12, quality: Quality::Trailing });
        assert_eq!(Number::read("0x"), Number { value: 0, quality: Quality::Trailing });
        assert_eq!(Number::read("99999999999999999999").quality, Quality::OutOfRange);
        assert_eq!(Number::read("70000").index::<u16>(), u16::MAX);
        assert_eq!(Number::read("-1").index::<u32>(), u32::MAX);
    }
}
