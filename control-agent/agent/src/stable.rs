//! Names and MACs derived from configuration, the same on every start and every machine.

use tables::RuleId;
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

/// The UUID of a rule that was given none.
pub(crate) fn uuid(parts: &[&str]) -> RuleId {
    let (high, low) = (hash(&[&["uuid"], parts].concat()), hash(&[&["rule"], parts].concat()));
    // Version 8 (RFC 9562 section 5.8): made by a rule of one's own.
    let bits = u128::from(high) << 64 | u128::from(low);
    RuleId(bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62)
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
        assert_eq!(uuid(&["policy", "web", "0"]), uuid(&["policy", "web", "0"]));
        assert_ne!(uuid(&["policy", "web", "0"]), uuid(&["policy", "web", "1"]));
        assert_eq!(uuid(&[]).to_string().as_bytes()[14], b'8');
        assert_ne!(mac("red", "red-a"), mac("green", "red-a"));
        assert!(!mac("red", "red-a").is_group());
        let tap = tap("node-a", "red-a");
        assert!(tap.len() <= 15 && tap.starts_with("tap"), "{tap}");
        assert_eq!(passing(&tap).len(), tap.len());
    }
}
