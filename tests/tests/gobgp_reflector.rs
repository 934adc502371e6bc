//! The agents exchange their routes through a route reflector of somebody else's make.

use anyhow::Result;
use lab::{A_ADDRESS, B_ADDRESS, Encapsulation, Gobgp, Site, SiteOptions, ping};

const REFLECTOR: &str = "192.0.2.250";

#[test]
fn vpnv4_and_evpn_routes_of_types_2_3_and_5_go_through_a_gobgp_route_reflector() -> Result<()> {
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
        let vxlan = encapsulation == Encapsulation::Vxlan;
        let evpn = reflector.paths("evpn")?;
        let of_type = |number| evpn.iter().filter(|path| path["nlri"]["type"] == number).count();
        assert_eq!(reflector.paths("vpnv4")?.len(), if vxlan { 0 } else { 5 }, "each workload");
        assert_eq!(of_type(5), if vxlan { 5 } else { 0 }, "each workload");
        assert_eq!(of_type(2), 10, "each workload's MAC, alone and with its address");
        assert_eq!(of_type(3), 4, "each network on each node");
    }
    Ok(())
}
