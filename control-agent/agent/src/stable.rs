//! Names and MACs derived from configuration, the same on every start and every machine.

use wire::Mac;

/// FNV-1a over the parts; a zero byte between them keeps ("ab", "c") and ("a", "bc") apart.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The MAC of a workload that was given none: locally administered.
pub(crate) fn mac(network: &str, workload: &str) -> Mac {
    let [a, b, c, d, e, ..] = hash(&["mac", network, workload]).to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// The host end of a workload's veth pair, in the style of OpenContrail: 14 characters.
pub(crate) fn tap(node: &str, workload: &str) -> String {
    let [a, b, c, d, e, ..] = hash(&["tap", node, workload]).to_be_bytes();
    format!("tap{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}")
}

/// The name the workload's end has between creation and move.
pub(crate) fn passing(tap: &str) -> String {
    tap.replacen("tap", "new", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_names_do_not_change() {
        // Running workloads have these: another derivation would rename and renumber them all.
        assert_eq!(mac("red", "red-b").to_string(), "02:41:bf:f3:0f:7a");
        assert_eq!(tap("node-b", "red-b"), "tap75645fcc-5e");
        assert_ne!(mac("red", "red-a"), mac("green", "red-a"));
        assert!(!mac("red", "red-a").is_group());
        let tap = tap("node-a", "red-a");
        assert!(tap.len() <= 15 && tap.starts_with("tap"), "{tap}");
        assert_eq!(passing(&tap).len(), tap.len());
    }
}
