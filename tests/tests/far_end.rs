//! An independent far end: GoBGP for the routes, a raw-socket MPLS endpoint in Python with scapy for the packets.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{A_ADDRESS, Encapsulation, Gobgp, RED_VNI, Site, SiteOptions, ping};
use serde_json::Value;

const FAR_END: &str = "192.0.2.99";
const FAR_WORKLOAD: &str = "10.1.1.99";
const FAR_LABEL: &str = "1048575";
const PYTHON: &str = "/usr/bin/python3";

fn speaks_to_a_raw_socket_endpoint(
    name: &str,
    encapsulation: Encapsulation,
    community: &str,
) -> Result<()> {
    let scapy = || lab::output(PYTHON, &["-c", "import scapy.contrib.mpls"]).is_ok();
    let missing = lab::missing_for_lab(&["ping", "gobgpd", "gobgp"]);
    if let Some(reason) = missing.or_else(|| (!scapy()).then(|| "needs python3-scapy".to_owned())) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(());
    }
    let options = SiteOptions {
        encapsulations: vec![encapsulation],
        reflectors: vec![FAR_END.to_owned()],
        ..SiteOptions::for_test(name)
    };
    let far_name = options.namespace("far");
    let mut site = Site::build(options)?;
    let far = Gobgp::start(&site.underlay, &far_name, FAR_END)?;
    site.start()?;
    far.run(&format!(
        "global rib add -a vpnv4 {FAR_WORKLOAD}/32 label {FAR_LABEL} rd {FAR_END}:1 rt 64512:1 {community} \
         nexthop {FAR_END}"
    ))?;
    let node = &site.nodes[0];
    lab::eventually("the far end's route", Duration::from_secs(20), || {
        node.reaches_through(RED_VNI, FAR_WORKLOAD, encapsulation)
    })?;
    // The label it sends with is the one node-a's BGP told it, and that `mpls --dump` shows.
    let number = node.label_of(RED_VNI, A_ADDRESS)?;
    let label = number.to_string();
    let told = far.paths("vpnv4")?.iter().any(|path| {
        path["nlri"]["prefix"] == format!("{A_ADDRESS}/32") && path["nlri"]["labels"][0] == number
    });
    assert!(told, "GoBGP does not know label {label} of {A_ADDRESS}");

    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("far_end/far_end.py").display().to_string();
    let log = far.directory().join("far_end.log");
    let arguments = [
        script.as_str(),
        "--encapsulation",
        encapsulation.word(),
        "--endpoint",
        FAR_END,
        "--peer",
        lab::ENDPOINTS[0],
        "--label-in",
        FAR_LABEL,
        "--label-out",
        &label,
        "--inner",
        FAR_WORKLOAD,
        "--inner-peer",
        A_ADDRESS,
        "--expect",
        "20",
        "--send",
        "20",
        "--seconds",
        "20",
    ];
    let mut endpoint = far.namespace().start(Path::new(PYTHON), &arguments, &log)?;
    lab::eventually("the far end to be ready", Duration::from_secs(20), || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))
    })?;
    let result = ping(site.workload("red-a")?, FAR_WORKLOAD, 20, "0.02")?;
    endpoint.wait(Duration::from_secs(25))?;
    let text = fs::read_to_string(&log)?;
    let report: Value = serde_json::from_str(text.lines().last().context("no report")?)
        .with_context(|| text.clone())?;
    assert_eq!(report["errors"], serde_json::json!([]), "{text}");
    assert_eq!(result.lost, 0, "{text}");
    assert_eq!((&report["answered"], &report["replies"]), (&20.into(), &20.into()));
    Ok(())
}

#[test]
fn mplsoudp_is_understood_both_ways_by_an_independent_endpoint() -> Result<()> {
    speaks_to_a_raw_socket_endpoint("udp", Encapsulation::MplsOverUdp, "encap mpls-in-udp")
}

#[test]
fn mplsogre_is_understood_both_ways_by_an_independent_endpoint() -> Result<()> {
    speaks_to_a_raw_socket_endpoint("gre", Encapsulation::MplsOverGre, "encap gre")
}

#[test]
fn a_route_without_an_encapsulation_community_is_sent_as_mplsogre() -> Result<()> {
    speaks_to_a_raw_socket_endpoint("plain", Encapsulation::MplsOverGre, "")
}
