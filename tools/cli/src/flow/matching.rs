//! The expression of `flow --match` (reference cli.md section 7.2).

use std::fmt::Write as _;
use std::net::IpAddr;

use api::FlowInfo;

/// An end: `None` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// What flows are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    one: Option<End>,
    other: Option<End>,
    vrf: Option<u16>,
    protocol: Option<u8>,
}

const PROTOCOLS: [(&str, u8, &str); 5] = [
    ("tcp", 6, "TCP"),
    ("udp", 17, "UDP"),
    ("icmp6", 58, "ICMPv6"),
    ("icmp", 1, "ICMP"),
    ("sctp", 132, "SCTP"),
];

/// Reads an expression.
///
/// # Errors
/// The line that says what is wrong.
pub(super) fn parse(text: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for term in text.split('&').map(str::trim) {
        if let Some(vrf) = term.strip_prefix("vrf ") {
            let vrf = vrf.trim();
            wanted.vrf =
                Some(vrf.parse().map_err(|_| format!("match: \"{vrf}\" is not a valid vrf"))?);
        } else if let Some(name) = term.strip_prefix("proto ") {
            let name = name.trim();
            let found = PROTOCOLS.iter().find(|(known, ..)| name.starts_with(known));
            let (_, number, _) = found.ok_or_else(|| format!("Unsupported protocol \"{name}\""))?;
            wanted.protocol = Some(*number);
        } else {
            for part in term.split(',').map(str::trim) {
                let end = end(part)?;
                if wanted.one.is_none() {
                    wanted.one = Some(end);
                } else if wanted.other.is_none() {
                    wanted.other = Some(end);
                } else {
                    let address = end.address.map_or("*".to_owned(), |it| it.to_string());
                    let port = end.port.map_or("(null)".to_owned(), |it| it.to_string());
                    return Err(format!(
                        "match: Why do you specify \"[{address}]:{port}\" when both ends of the flow are already \
                         specified"
                    ));
                }
            }
        }
    }
    let family =
        |end: Option<End>| end.and_then(|end| end.address).map(|address| address.is_ipv4());
    match (family(wanted.one), family(wanted.other)) {
        (Some(a), Some(b)) if a != b => {
            Err("match: You are trying to match v4 and v6 flow together\n\
             match: It does not make sense to me at this point of time"
                .to_owned())
        }
        _ => Ok(wanted),
    }
}

fn end(text: &str) -> Result<End, String> {
    let any = |text: &str| text == "*";
    let port = |text: &str| {
        if any(text) {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| format!("match: \"{text}\" is not a valid port"))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) =
            rest.split_once(']').ok_or_else(|| "match: No closing ']'".to_owned())?;
        let shape = "match: match string should be in [aa:aa::aa:aa]:p format";
        let number = rest.strip_prefix(':').ok_or_else(|| shape.to_owned())?;
        return Ok(End { address: address_of(address, "ipv6")?, port: port(number)? });
    }
    if text.matches(':').count() > 1 {
        return Ok(End { address: address_of(text, "ipv6")?, port: None });
    }
    match text.split_once(':') {
        Some((address, number)) => {
            Ok(End { address: address_of(address, "ipv4")?, port: port(number)? })
        }
        None => Ok(End { address: address_of(text, "ipv4")?, port: None }),
    }
}

fn address_of(text: &str, family: &str) -> Result<Option<IpAddr>, String> {
    if text == "*" {
        return Ok(None);
    }
    let address = text.parse::<IpAddr>().ok();
    let right = address.filter(|address| address.is_ipv4() == (family == "ipv4"));
    match right {
        Some(address) => Ok(Some(address)),
        None => Err(format!("match: \"{text}\" is not a valid {family} address format")),
    }
}

impl End {
    fn is(&self, address: IpAddr, port: u16) -> bool {
        self.address.is_none_or(|wanted| wanted == address)
            && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl Wanted {
    /// Whether a flow is wanted.
    pub(super) fn is(&self, flow: &FlowInfo) -> bool {
        let source = |end: &End| end.is(flow.source, flow.source_port);
        let destination = |end: &End| end.is(flow.destination, flow.destination_port);
        let ends = match (&self.one, &self.other) {
            (Some(one), Some(other)) => {
                source(one) && destination(other) || source(other) && destination(one)
            }
            (Some(one), None) => source(one) || destination(one),
            (None, _) => true,
        };
        flow.active
            && ends
            && self.vrf.is_none_or(|vrf| vrf == flow.vrf.0)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
    }

    /// The line above the list; empty where only VRF 0 is asked for.
    pub(super) fn banner(&self) -> String {
        let mut items = Vec::new();
        for end in [self.one, self.other].into_iter().flatten() {
            let address = end.address.map_or("*".to_owned(), |it| it.to_string());
            let port = end.port.map_or("*".to_owned(), |it| it.to_string());
            items.push(format!("[{address}]:{port}"));
        }
        if let Some(protocol) = self.protocol {
            let name = PROTOCOLS.iter().find(|(_, number, _)| *number == protocol);
            items.extend(name.map(|(.., shown)| format!("Protocol {shown}")));
        }
        if let Some(vrf) = self.vrf.filter(|vrf| *vrf != 0 || !items.is_empty()) {
            items.push(format!("VRF {vrf}"));
        }
        let mut text = String::new();
        if !items.is_empty() {
            let _ = write!(text, "Listing flows matching ({})\n\n", items.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_both_families_are_read_with_and_without_port() {
        let one = |text| parse(text).unwrap().one.unwrap();
        assert_eq!(one("10.0.0.1").port, None);
        assert_eq!(one("10.0.0.1:80").port, Some(80));
        assert_eq!(one("*:80").address, None);
        assert_eq!(one("10.0.0.1:*").port, None);
        assert_eq!(one("[2001:db8::1]:443").port, Some(443));
        assert_eq!(one("2001:db8::1").address, "2001:db8::1".parse().ok());
        let both = parse("10.0.0.1:1 , 10.0.0.2:2 & vrf 7 & proto udp").unwrap();
        assert_eq!((both.vrf, both.protocol), (Some(7), Some(17)));
        assert_eq!(both.other.unwrap().port, Some(2));
        assert_eq!(parse("proto icmp6").unwrap().protocol, Some(58));
    }

    #[test]
    fn what_makes_no_sense_is_answered_in_the_originals_words() {
        let wrong = |text| parse(text).unwrap_err();
        assert_eq!(wrong("10.0.0"), "match: \"10.0.0\" is not a valid ipv4 address format");
        assert_eq!(wrong("[2001:db8::1"), "match: No closing ']'");
        assert_eq!(
            wrong("[2001:db8::1]"),
            "match: match string should be in [aa:aa::aa:aa]:p format"
        );
        assert_eq!(wrong("proto gre"), "Unsupported protocol \"gre\"");
        assert!(
            wrong("10.0.0.1,10.0.0.2,10.0.0.3")
                .starts_with("match: Why do you specify \"[10.0.0.3]:(null)\"")
        );
        assert!(wrong("10.0.0.1,2001:db8::1").contains("v4 and v6 flow together"));
    }
}
