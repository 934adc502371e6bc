//! The operator's commands: one library, one binary for each of `vif`, `nh`, `rt`, `mpls`, `vxlan`, `dropstats`.
//!
//! Text is an interface: byte by byte that of OpenContrail R21.4 (reference cli.md), exit statuses too. Each tool has a
//! folder with one file per verb; what a verb prints is made by pure functions in `render`, judged by the golden files
//! in `tests/cli-golden`. `--json` is another printing of the same reply.
//!
//! | module | holds |
//! |---|---|
//! | `options` | `getopt_long` as the original has it: prefixes, base-0 numbers, options that all tools share |
//! | `tool` | from arguments to exit status: connection, output, failures |
//! | `json` | rows as JSON, one a line |
//! | `label_map` | what `mpls` and `vxlan` share |
//! | `vif` … `dropstats` | the tools |
#![forbid(unsafe_code)]

mod dropstats;
mod json;
mod label_map;
mod mpls;
mod nh;
mod options;
mod rt;
mod tool;
mod vif;
mod vxlan;

pub use dropstats::dropstats;
pub use mpls::mpls;
pub use nh::nh;
pub use rt::rt;
pub use vif::vif;
pub use vxlan::vxlan;
