//! The agents exchange their routes through a route reflector of somebody else's make.

use anyhow::Result;
use lab::{A_ADDRESS, B_ADDRESS, Encapsulation, Gobgp, Site, SiteOptions, ping};

const REFLECTOR: &str = "192.0.2.250";

#[test]
fn vpnv4_and_evpn_type_5_go_through_a_gobgp_route_reflector() -> Result<()> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "gobgpd", "gobgp"]) {
        lab::skip(&format!("GoBGP route reflector: {reason}"));
        return Ok(());
    }
    let options =
        SiteOptions { reflectors: vec![REFLECTOR.to_owned()], ..SiteOptions::for_test("rr") };
    let name = options.namespace("rr");
    let mut site = Site::build(options)?;
    let reflector = Gobgp::start(&site.underlay, &name, REFLECTOR)?;
    site.start()?;
    for encapsulation in Encapsulation::ALL {
        for node in &mut site.nodes {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
        site.converge(encapsulation)?;
        assert_eq!(ping(site.workload("red-a")?, B_ADDRESS, 10, "0.02")?.lost, 0);
        assert_eq!(ping(site.workload("green-b")?, A_ADDRESS, 10, "0.02")?.lost, 0);
        let family = if encapsulation == Encapsulation::Vxlan { "evpn" } else { "vpnv4" };
        assert_eq!(reflector.paths(family)?.len(), 5, "one path for each workload");
    }
    Ok(())
}
