//! The operator's commands: one library, one binary for each of `vif`, `nh`, `rt`, `mpls`, `vxlan`, `dropstats`,
//! `vrfstats`, `mirror`, `qosmap`, `vrftable`, `vrouter`, `vrmemstats`, `vrinfo`, `dpdkinfo`, `dpdkconf`, `vifdump`.
//!
//! Text is an interface: byte by byte that of OpenContrail R21.4 (reference cli.md), exit statuses too. Each tool has a
//! folder with one file per verb; what a verb prints is made by pure functions in `render`, judged by the golden files
//! in `tests/cli-golden`. `--json` is another printing of the same reply.
//!
//! | module | holds |
//! |---|---|
//! | `options` | `getopt_long` as the original has it: prefixes, base-0 numbers, options that all tools share |
//! | `description` | a tool as people and shells see it: usage |
//! | `completions` | the same for bash, zsh and fish |
//! | `tool` | from arguments to exit status: connection, output, failures |
//! | `json` | rows as JSON, one a line |
//! | `label_map` | what `mpls` and `vxlan` share |
//! | `engine_text` | what `vrinfo` and `dpdkinfo` share |
//! | `vif` … `vifdump` | the tools |
#![forbid(unsafe_code)]

mod completions;
mod description;
mod dpdkconf;
mod dpdkinfo;
mod dropstats;
mod engine_text;
mod flow;
mod json;
mod label_map;
mod mirror;
mod mpls;
mod nh;
mod options;
mod qosmap;
mod rt;
mod tool;
mod vif;
mod vifdump;
mod vrfstats;
mod vrftable;
mod vrinfo;
mod vrmemstats;
mod vrouter;
mod vxlan;

pub use completions::completions;
pub use dpdkconf::dpdkconf;
pub use dpdkinfo::dpdkinfo;
pub use dropstats::dropstats;
pub use flow::flow;
pub use mirror::mirror;
pub use mpls::mpls;
pub use nh::nh;
pub use qosmap::qosmap;
pub use rt::rt;
pub use vif::vif;
pub use vifdump::vifdump;
pub use vrfstats::vrfstats;
pub use vrftable::vrftable;
pub use vrinfo::vrinfo;
pub use vrmemstats::vrmemstats;
pub use vrouter::vrouter;
pub use vxlan::vxlan;

/// Every tool there is, for completions.
fn descriptions() -> Vec<description::Description> {
    vec![
        vif::TOOL.description(),
        nh::TOOL.description(),
        rt::TOOL.description(),
        mpls::TOOL.description(),
        vxlan::TOOL.description(),
        flow::TOOL.description(),
        dropstats::TOOL.description(),
        vrfstats::TOOL.description(),
        mirror::TOOL.description(),
        qosmap::TOOL.description(),
        vrftable::TOOL.description(),
        vrouter::description(),
        vrmemstats::TOOL.description(),
        vrinfo::TOOL.description(),
        dpdkinfo::TOOL.description(),
        dpdkconf::TOOL.description(),
        vifdump::description(),
    ]
}
