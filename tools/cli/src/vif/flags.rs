//! The letters of interface flags (reference cli.md section 2.3).

use api::VifFlags;

/// Bit, letters and name, in print order.
const LETTERS: &[(u32, &str, &str)] = &[
    (0x1, "P", "Policy"),
    (0x2, "X", "Cross Connect"),
    (0x4, "S", "Service Chain"),
    (0x8, "Mr", "Receive Mirror"),
    (0x10, "Mt", "Transmit Mirror"),
    (0x20, "Tc", "Transmit Checksum Offload"),
    (0x40, "L3", "Layer 3"),
    (0x80, "L2", "Layer 2"),
    (0x100, "D", "DHCP"),
    (0x200, "Vp", "Vhost Physical"),
    (0x400, "Pr", "Promiscuous"),
    (0x800, "Vnt", "Native Vlan Tagged"),
    (0x1000, "Mnp", "No MAC Proxy"),
    (0x2000, "Dpdk", "DPDK PMD Interface"),
    (0x4000, "Rfl", "Receive Filtering Offload"),
    (0x8000, "Mon", "Interface is Monitored"),
    (0x1_0000, "Uuf", "Unknown Unicast Flood"),
    (0x2_0000, "Vof", "VLAN insert/strip offload"),
    (0x4_0000, "Df", "Drop New Flows"),
    (0x8_0000, "L", "MAC Learning Enabled"),
    (0x10_0000, "Proxy", "MAC Requests Proxied Always"),
    (0x20_0000, "Er", "Etree Root"),
    (0x100_0000, "Mn", "Mirror without Vlan Tag"),
    (0x800_0000, "HbsL", "HBS Left Intf"),
    (0x1000_0000, "HbsR", "HBS Right Intf"),
    (0x200_0000, "Ig", "Igmp Trap Enabled"),
    (0x4000_0000, "Ml", "MAC-IP Learning Enabled"),
];

/// Bits that change what else is printed.
pub(super) const SERVICE: VifFlags = VifFlags(0x4);
pub(super) const MIRRORED: u32 = 0x18;
pub(super) const PMD: VifFlags = VifFlags(0x2000);
pub(super) const MOCK: VifFlags = VifFlags(0x400_0000);

/// The original's buffer holds so many characters.
const LONGEST: usize = 63;
const PER_LINE: usize = 4;

/// The legend: four to a line.
pub(super) fn legend() -> String {
    let lines: Vec<String> = LETTERS
        .chunks(PER_LINE)
        .map(|line| {
            line.iter().map(|(_, letters, name)| format!("{letters}={name}")).collect::<Vec<_>>()
        })
        .map(|line| line.join(", "))
        .collect();
    format!("Flags: {}\n", lines.join("\n       "))
}

/// The letters of a set, cut before the first that does not fit.
pub(super) fn letters(flags: VifFlags) -> String {
    if flags.0 == 0 {
        return "NULL".to_owned();
    }
    let mut text = String::new();
    for (_, letters, _) in LETTERS.iter().filter(|(bit, ..)| flags.0 & bit != 0) {
        if text.len() + letters.len() > LONGEST {
            break;
        }
        text.push_str(letters);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_flags_are_cut_at_sixty_three_characters() {
        let all = letters(VifFlags(u32::MAX));
        assert_eq!(all, "PXSMrMtTcL3L2DVpPrVntMnpDpdkRflMonUufVofDfLProxyErMnHbsLHbsRIg");
        assert!(all.len() <= LONGEST);
        assert_eq!(letters(VifFlags(0)), "NULL");
        assert_eq!(letters(VifFlags(0x400_0000)), "");
    }
}
